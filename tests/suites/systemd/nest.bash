#!/usr/bin/env bash
# A systemd of a user in namespaces of its own, as root.
#
#   nest.bash start PLACE RUNTIME_DIRECTORY UID   becomes that systemd; in a mount namespace of its own
#   nest.bash clean PLACE                         removes what start left in the machine; likewise
#
# PLACE is a directory with bin/ (programs), home/, and etc/ (files that /etc is to have besides). Its own /tmp and
# /run come first: systemd's rules for temporary files would otherwise empty the machine's. And its control groups
# are below one of its own: two systemd in one would end each other's services.
set -euo pipefail
step=$1 place=$2 runtime=${3:-} uid=${4:-0}
group=sfkey-$(basename "$place")

case $step in
start)
    mount --make-rprivate /
    mount -t tmpfs -o mode=0755 tmpfs /run
    mkdir -p /run/systemd/system /run/systemd/journal /run/nest
    # The place may be below a directory that only root may enter, and both it and this script below /tmp.
    mount --bind "$place" /run/nest
    cp "$0" /run/nest.bash
    mount -t tmpfs -o mode=1777 tmpfs /tmp
    # Where the systemd of the system, which users' have above them, lets units make their view of the file system.
    mkdir -m 0700 /run/systemd/unit-root
    # What a booted systemd puts in the place of what a service must not see.
    hidden=/run/systemd/inaccessible
    mkdir "$hidden"
    mkdir -m 000 "$hidden/dir"
    touch "$hidden/reg"
    mkfifo -m 000 "$hidden/fifo"
    mknod -m 000 "$hidden/chr" c 0 0
    mknod -m 000 "$hidden/blk" b 0 0
    chmod 000 "$hidden/reg"
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    mkdir "/sys/fs/cgroup/$group"
    echo $$ >"/sys/fs/cgroup/$group/cgroup.procs"
    exec unshare --cgroup -- "$BASH" /run/nest.bash become "$place" "$runtime" "$uid"
    ;;
become)
    umount /sys/fs/cgroup
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    # What is sealed here is sealed with a key of its own.
    mount -t tmpfs -o mode=0755 tmpfs /var/lib/systemd
    if [ -f /run/nest/plain.key ]; then
        systemd-creds encrypt --quiet --with-key=host --name=sfkey.key /run/nest/plain.key \
            /run/nest/etc/credstore.encrypted/sfkey.key 2>/run/nest/creds.log
        rm /run/nest/plain.key
    fi
    mount -t overlay -o lowerdir=/run/nest/etc:/etc overlay /etc
    mkdir -p "$runtime"
    # As a booted system has it: what is mounted for a unit, such as its credentials, is seen by the others.
    mount --make-rshared /
    # What the manager of a user is given.
    own=/sys/fs/cgroup
    chown "$uid" "$runtime" "$own" "$own/cgroup.procs" "$own/cgroup.subtree_control" "$own/cgroup.threads"
    [ "$uid" = 0 ] || chmod 0700 "$runtime"
    chown -R "$uid" /run/nest/home
    exec setpriv --reuid "$uid" --regid "$uid" --clear-groups -- \
        env --ignore-environment HOME=/run/nest/home XDG_RUNTIME_DIR="$runtime" PATH=/usr/bin:/bin \
        NOTIFY_SOCKET=/run/nest/notify /lib/systemd/systemd --user --log-target=null
    ;;
clean)
    mount --make-rprivate /
    mount -t cgroup2 cgroup2 /mnt
    find "/mnt/$group" -depth -type d -exec rmdir {} +
    ;;
esac
