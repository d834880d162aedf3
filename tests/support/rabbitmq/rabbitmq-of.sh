#!/bin/sh
# Makes a RABBITMQ_HOME of another version of RabbitMQ, to run the tests against it:
#
#     sudo sh tests/support/rabbitmq/rabbitmq-of.sh 4.0 /var/tmp/4.0
#     sudo RABBITMQ_HOME=/var/tmp/4.0/home .venv/bin/pytest tests/integration/test_jobs.py
#
# A Debian release that has the version is unpacked into the folder (needs mmdebstrap). No release has 3.13: it, and each
# version that is not named below, comes out of the official image (needs buildah). Its server runs chrooted there, with
# this machine's /tmp, /proc and /dev. Those mounts are private to the server's process, and go with it.
set -eu
version=$1 folder=$2
mkdir -p "$folder"
root=$folder/root home=$folder/home

from_debian() {
  mmdebstrap --variant=minbase --include=rabbitmq-server \
    --aptopt='Acquire::Check-Valid-Until "false"' "$1" "$root"  # a mirror's copy of sid is soon out of date
}

from_image() {
  store() { buildah --root="$folder/store" --runroot="$folder/run" --storage-driver=vfs "$@"; }
  container=$(store from "docker://rabbitmq:$version")
  cp -a "$(store mount "$container")" "$root.part"
  store rm "$container" >/dev/null
  rm -rf "$folder/store" "$folder/run"
  mv "$root.part" "$root"
}

if [ ! -e "$root/etc" ]; then
  case $version in
    3.10) from_debian bookworm ;;
    4.0) from_debian trixie ;;
    4.3) from_debian sid ;;
    *) from_image ;;
  esac
fi

# Some releases (sid) come without it, and a node that cannot resolve its own name does not start.
grep -qw localhost "$root/etc/hosts" 2>/dev/null || echo '127.0.0.1 localhost' >>"$root/etc/hosts"
grep -qw "$(hostname)" "$root/etc/hosts" || echo "127.0.1.1 $(hostname)" >>"$root/etc/hosts"
mkdir -p "$home/sbin"
for program in rabbitmq-server rabbitmqctl; do
  # Debian's folder, or the image's, which has an Erlang of its own beside it.
  inside=$(cd "$root" && find usr/lib/rabbitmq/lib/*/sbin opt/rabbitmq/sbin -name $program 2>/dev/null || true)
  # `exec` all the way down, as local_broker wants it: the process number stays.
  cat >"$home/sbin/$program" <<SCRIPT
#!/bin/sh
exec unshare --mount sh -c 'for folder in tmp proc dev; do mount --rbind "/\$folder" "$root/\$folder"; done
exec chroot "$root" env "PATH=/opt/erlang/bin:\$PATH" "\$@"' sh "/$inside" "\$@"
SCRIPT
  chmod 755 "$home/sbin/$program"
done
touch "$home/sbin/rabbitmq-env"  # says that these are no package's wrappers

# sid goes on: what is tested must be what its name says. Not asked of rabbitmqctl, which leaves an epmd behind.
found=$(find "$root/${inside%/sbin/*}/plugins" -maxdepth 1 -name 'rabbit-[0-9]*' | sed 's/.*rabbit-//; s/\.ez$//')
case $found in
  "$version" | "$version".*) echo "RABBITMQ_HOME=$home (RabbitMQ $found)" ;;
  *) echo "RabbitMQ $version is asked for, but $folder has $found: its source has moved on; change rabbitmq-of.sh" >&2
     exit 1 ;;
esac
