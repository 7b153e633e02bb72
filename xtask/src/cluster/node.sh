# shellcheck shell=sh
# Run in a node's new network, mount and uts namespaces, with private mount propagation.
# $1 name, $2 the node's folder, $3 its version 2 cgroup.
hostname "$1"

# A fresh sysfs shows this node's interfaces, but would hide the cgroup mounts.
mkdir -p "$2/cgroups"
mount --rbind /sys/fs/cgroup "$2/cgroups"
mount -t sysfs sysfs /sys
mount --rbind "$2/cgroups" /sys/fs/cgroup
umount -l "$2/cgroups"
mount -t bpf bpf /sys/fs/bpf

# The host's namespaces too would be found in the mount table, hidden though they are.
grep -oE ' /run/netns[^ ]*' /proc/mounts | sort -r | xargs -r -n1 umount -l
mount -t tmpfs tmpfs /run
mkdir -p /run/netns /run/lab-cgroup
mount --bind /run/netns /run/netns
mount --make-shared /run/netns
# The node's own root of the cgroup tree, at a place that does not depend on the host's layout.
mount --bind "$3" /run/lab-cgroup

for folder in /etc/cni /opt/cni /var/lib/cni; do mount -t tmpfs tmpfs "$folder"; done
mkdir -p /etc/cni/net.d /opt/cni/bin
for folder in containerd kubelet log; do mkdir -p "$2/$folder"; done
mount --bind "$2/containerd" /var/lib/containerd
mount --bind "$2/kubelet" /var/lib/kubelet
mount --make-shared /var/lib/kubelet
mount --bind "$2/log" /var/log

ip link set lo up
sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
