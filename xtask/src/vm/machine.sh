#!/bin/busybox sh
# The first process of a machine with a Debian root: loads modules, takes the root out of the first file system of the kernel,
# which cannot be pivoted away from, and hands over to systemd.
/bin/busybox mkdir -p /new /proc
while read -r module; do
    /bin/busybox insmod "$module" || echo "$module was not loaded"
done </modules/list
/bin/busybox mount -t tmpfs -o mode=755,size=80% tmpfs /new
for entry in /system/* /system/.[!.]*; do
    [ -e "$entry" ] || [ -L "$entry" ] || continue
    /bin/busybox cp -a "$entry" /new/ && /bin/busybox rm -rf "$entry"
done
/bin/busybox mkdir -p /new/proc /new/sys /new/dev /new/run /new/tmp
exec /bin/busybox switch_root /new /lib/systemd/systemd
