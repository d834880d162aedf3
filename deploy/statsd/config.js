// statsd's configuration (npm package `statsd`): node stats.js deploy/statsd/config.js
//
// The dashboards' queries hold for these settings: the new namespace (stats.counters.*, stats.timers.*,
// stats.gauges.*), idle series deleted, and the percentile 95. The variables are for what differs between places.
{
  address: process.env.STATSD_ADDRESS || '0.0.0.0',
  port: Number(process.env.STATSD_PORT || 8125),
  mgmt_address: '127.0.0.1',
  mgmt_port: Number(process.env.STATSD_MGMT_PORT || 8126),

  backends: ['./backends/graphite'],
  graphiteHost: process.env.GRAPHITE_HOST || '127.0.0.1',
  graphitePort: Number(process.env.GRAPHITE_PORT || 2003),
  graphite: { legacyNamespace: false },

  // As long as a point of the finest archive in storage-schemas.conf: neither gaps nor overwritten points.
  flushInterval: Number(process.env.STATSD_FLUSH_MS || 10000),

  // Containers come and go, each with a host name of its own. Without this statsd tells the last value of each
  // gauge, and a zero for each counter, for as long as it lives. Six flushes: a consumer repeats its gauges every
  // 5 s, so one that has gone is gone from the graphs after a minute.
  deleteIdleStats: true,
  gaugesMaxTTL: 6,

  // What the dashboards ask for, and no more: each is a file per timer and host.
  percentThreshold: [95],
  calculatedTimerMetrics: ['count', 'sum', 'mean', 'median', 'upper', 'upper_percent'],
}
