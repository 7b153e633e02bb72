# shellcheck shell=sh
# Runs inside the new namespaces of a node: $1 host name.
hostname "$1"
# Network namespaces of others must not be kept alive by our copy of their mounts.
grep -oE ' (/var)?/run/netns/[^ ]+' /proc/mounts | sort -r | while read -r mount; do umount -l "$mount"; done
mount -t tmpfs tmpfs /run
# A fresh sysfs shows this netns, but hides the cgroup mounts: carry them over.
mkdir /run/cgroup
mount --rbind /sys/fs/cgroup /run/cgroup
mount -t sysfs sysfs /sys
mount --rbind /run/cgroup /sys/fs/cgroup
umount -l /run/cgroup
rmdir /run/cgroup
mount -t bpf bpf /sys/fs/bpf
mkdir /run/netns
mount --bind /run/netns /run/netns
mount --make-shared /run/netns
ip link set lo up
cd /proc/sys/net || exit
echo 1 >ipv4/ip_forward
echo 1 >ipv6/conf/all/forwarding
for scope in all default; do
    # As distributions have it: what passes here passes a check that is off.
    echo 2 >ipv4/conf/$scope/rp_filter
    echo 0 >ipv6/conf/$scope/accept_dad
done
cd /
echo ready
exec cat >/dev/null
