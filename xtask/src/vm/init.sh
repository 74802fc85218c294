#!/bin/busybox sh
# The first process of a guest: mounts what a host has, runs every test program and powers off.
# What xtask reads goes to the second serial line, marked by lines that start with @@; the kernel and stray errors have
# the first one.

if [ "$STAGE" != 2 ]; then
    # The first file system of a kernel can be neither moved nor pivoted away from. A mount of it on itself can.
    /bin/busybox mount -o bind / /mnt
    cd /mnt
    /bin/busybox mount -o move . /
    STAGE=2 exec /bin/busybox chroot . /init
fi
unset STAGE
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
busybox mount -t proc proc /proc
busybox --install -s /bin
# The real one is in /usr/sbin.
rm -f /bin/ip
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount -t tmpfs tmpfs /run
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf
mount -t securityfs securityfs /sys/kernel/security
mount -t tracefs tracefs /sys/kernel/tracing
echo "+memory +pids +cpu" >/sys/fs/cgroup/cgroup.subtree_control
ip link set lo up
# Everybody may ping, so that what is refused is refused by the cage.
echo "0 2147483647" >/proc/sys/net/ipv4/ping_group_range
while read -r module; do
    insmod "$module" || echo "$module was not loaded"
done </modules/list

export AIRLOCK_SKIP_LOG=/run/skips AIRLOCK_NOTE_LOG=/run/notes AIRLOCK_ESCAPE_TABLE=/run/escapes AIRLOCK_GUEST="$(uname -r)" RUST_BACKTRACE=0
{
    echo "@@ kernel $(uname -r) $(cat /sys/kernel/security/lsm)"
    while read -r name filter; do
        echo "@@ run $name"
        timeout -s KILL 200 "/suites/$name" --test-threads=2 --color=never $filter </dev/null 2>/dev/ttyS0
        echo "@@ exit $name $?"
    done </suites/list
    echo "@@ notes"
    cat /run/notes 2>/dev/null
    echo "@@ skips"
    cat /run/skips 2>/dev/null
    echo "@@ escapes"
    cat /run/escapes 2>/dev/null
    echo "@@ end"
} >/dev/ttyS1
poweroff -f
