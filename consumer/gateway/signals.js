// Reads signals from a file that a person has chosen: text in, a list of signals out. Draws and sends nothing.
//
// A signal is {name, label, values}: `values` is a function, because a file may hold thousands and one is wanted.
// Tables are read as `classifier train` reads them: a line is a signal, with its label first or in the column
// `label`. Whatever cannot be read is an `Unreadable`, whose message says what is wrong and what to do.
'use strict';

class Unreadable extends Error {}

// What people choose by mistake: the first bytes, and what to say.
const KINDS = [
  [[0x89, 0x50, 0x4e, 0x47], 'a picture (PNG)'],
  [[0xff, 0xd8, 0xff], 'a picture (JPEG)'],
  [[0x47, 0x49, 0x46, 0x38], 'a picture (GIF)'],
  [[0x25, 0x50, 0x44, 0x46], 'a PDF document'],
  [[0x1f, 0x8b], 'a compressed file (gzip)'],
  [[0x50, 0x4b, 0x03, 0x04], 'an archive (ZIP), as Excel’s .xlsx and NumPy’s .npz files are'],
];

// Returns the text of a file. UTF-16 is what Excel calls “Unicode text”.
function decoded(bytes) {
  const kind = KINDS.find(([beginning]) => beginning.every((byte, index) => bytes[index] === byte));
  if (kind) throw new Unreadable(`This is ${kind[1]}, not a text file with numbers. Save the signal as CSV, and choose that file.`);
  const encoding = { '255,254': 'utf-16le', '254,255': 'utf-16be' }[bytes.slice(0, 2).join()] ?? 'utf-8';
  let text;
  try {
    text = new TextDecoder(encoding, { fatal: true }).decode(bytes);
  } catch {
    throw new Unreadable('This is not a text file in UTF-8. Save the signal as CSV in UTF-8, and choose that file.');
  }
  if (text.includes('\0')) throw new Unreadable('This is a binary file, not a text file with numbers. Save the signal as CSV.');
  return text;
}

// Returns the signals of a text; `name` is the file's name.
function signalsOf(text, name) {
  const trimmed = text.trim();
  if (!trimmed) throw new Unreadable('The file is empty.');
  if (trimmed.startsWith('[') || trimmed.startsWith('{')) return fromJson(trimmed);
  if (/\.ts$/i.test(name)) return fromTs(trimmed);
  return fromTable(trimmed, { labelIsFirst: /\.tsv$/i.test(name) });
}

// An array of numbers, a job, or a job in each line.
function fromJson(text) {
  const read = (json) => {
    try {
      return JSON.parse(json);
    } catch (error) {
      throw new Unreadable(`The file begins as JSON does, but is none: ${error.message}`);
    }
  };
  const lines = text.split(/\r?\n/).filter((line) => line.trim());
  const isALineEach = lines.length > 1 && lines.every((line) => /^\{.*\}$/.test(line.trim()));
  return (isALineEach ? lines : [text]).map((json, index) => ({
    name: isALineEach ? `line ${index + 1}` : '',
    label: '',
    values: () => checkedJson(read(json)),
  }));
}

function checkedJson(read) {
  const values = Array.isArray(read) ? read : read?.signal;
  if (!Array.isArray(values) || !values.every((value) => typeof value === 'number')) {
    throw new Unreadable('This is JSON, but not an array of numbers (nor an object with one as “signal”).');
  }
  return longEnough(values);
}

// After the header (#, @), each line is a signal; its label is behind the last colon.
function fromTs(text) {
  const lines = numbered(text).filter(({ line }) => !/^[#@]/.test(line));
  if (!lines.length) throw new Unreadable('The .ts file has no line of data.');
  return lines.map(({ line, number }) => {
    const end = line.includes(':') ? line.lastIndexOf(':') : line.length;
    return { name: lines.length > 1 ? `line ${number}` : '', label: line.slice(end + 1).trim(), values: () => numbers(line.slice(0, end).split(','), number) };
  });
}

// One column is one signal. Otherwise each line is one, with or without a label.
function fromTable(text, { labelIsFirst }) {
  const lines = numbered(text).filter(({ line }) => !line.startsWith('#'));
  const separator = [/\t/, /;/, /,/].find((one) => lines.some(({ line }) => one.test(line))) ?? /\s+/;
  const rows = lines.map(({ line, number }) => ({ number, cells: cellsOf(line, separator) }));
  const header = headerOf(rows);
  if (header) rows.shift();
  if (!rows.length) {
    const shown = header ? `“${header.cells.join(', ').slice(0, 40)}”` : 'comments';
    throw new Unreadable(`The file has a header row (${shown}), but no numbers below it.`);
  }
  const width = Math.max(...rows.map(({ cells }) => cells.length));
  if (width === 1 && !labelIsFirst) {
    return [{ name: '', label: '', values: () => longEnough(rows.map(({ cells, number }) => numberOf(cells[0], `Line ${number}`))) }];
  }
  const named = header ? header.cells.findIndex((cell) => /^label$/i.test(cell)) : -1;
  const column = labelIsFirst ? 0 : named >= 0 ? named : rows.every(({ cells }) => !isNumber(cells[0])) ? 0 : -1;
  if (column < 0 && rows.length > 1 && width < 4) {
    throw new Unreadable(`The file has ${rows.length} lines of ${width} columns. A line is a signal, or one column is: save the signal’s column alone.`);
  }
  return rows.map(({ cells, number }) => ({
    name: rows.length > 1 ? `line ${number}` : '',
    label: column < 0 ? '' : cells[column] ?? '',
    values: () => numbers(cells.filter((_, index) => index !== column), number),
  }));
}

// A first row without any number is the names of the columns, where there is a row below it or nothing else.
function headerOf(rows) {
  const [first, second] = rows;
  if (!first || first.cells.some(isNumber)) return null;
  return !second || second.cells.some(isNumber) ? first : null;
}

const numbered = (text) => text.split(/\r\n|\n|\r/)
  .map((line, index) => ({ line: line.trim(), number: index + 1 }))
  .filter(({ line }) => line);

function cellsOf(line, separator) {
  const cells = line.split(separator).map((cell) => cell.trim().replace(/^"(.*)"$/, '$1'));
  while (cells.length > 1 && cells.at(-1) === '') cells.pop();
  return separator.source === ';' ? cells.map((cell) => cell.replace(/^([+-]?\d*),(\d+)$/, '$1.$2')) : cells;
}

const isNumber = (cell) => cell !== undefined && cell !== '' && Number.isFinite(Number(cell));

function numbers(cells, line) {
  return longEnough(cells.map((cell, index) => numberOf(cell.trim(), `Sample ${index + 1} of line ${line}`)));
}

function numberOf(cell, where) {
  if (cell === '') throw new Unreadable(`${where} is missing.`);
  if (!isNumber(cell)) throw new Unreadable(`${where} is “${cell.slice(0, 40)}”, which is not a number.`);
  return Number(cell);
}

function longEnough(values) {
  if (values.length < 2) throw new Unreadable('A signal has at least two numbers.');
  return values;
}
