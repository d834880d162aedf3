#!/bin/sh
# Makes a RABBITMQ_HOME from the RabbitMQ of another Debian release, to run the tests against that version:
#
#     sudo sh tests/support/rabbitmq/rabbitmq-of.sh trixie /var/tmp/trixie
#     sudo RABBITMQ_HOME=/var/tmp/trixie/home .venv/bin/pytest tests/integration/test_jobs.py
#
# The release is unpacked into a folder of its own (needs mmdebstrap), and its server runs chrooted there, with this
# machine's /tmp, /proc and /dev. Those mounts are private to the server's process, and go with it.
set -eu
suite=$1 folder=$2
mkdir -p "$folder"
root=$folder/root home=$folder/home
test -e "$root/usr/sbin/rabbitmq-server" \
  || mmdebstrap --variant=minbase --include=rabbitmq-server \
    --aptopt='Acquire::Check-Valid-Until "false"' "$suite" "$root"  # a mirror's copy of sid is soon out of date
# Some releases (sid) come without it, and a node that cannot resolve its own name does not start.
grep -qw localhost "$root/etc/hosts" 2>/dev/null || echo '127.0.0.1 localhost' >>"$root/etc/hosts"
grep -qw "$(hostname)" "$root/etc/hosts" || echo "127.0.1.1 $(hostname)" >>"$root/etc/hosts"
mkdir -p "$home/sbin"
for program in rabbitmq-server rabbitmqctl; do
  inside=$(cd "$root" && ls -d usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/$program)
  # `exec` all the way down, as localbroker.py wants it: the process number stays.
  cat >"$home/sbin/$program" <<SCRIPT
#!/bin/sh
exec unshare --mount sh -c 'for folder in tmp proc dev; do mount --rbind "/\$folder" "$root/\$folder"; done
exec chroot "$root" "\$@"' sh "/$inside" "\$@"
SCRIPT
  chmod 755 "$home/sbin/$program"
done
touch "$home/sbin/rabbitmq-env"  # says that these are no package's wrappers
echo "RABBITMQ_HOME=$home"
