#!/usr/bin/env bash
# A node for the Infrastructure Manager's connector DeployedNode: a machine that is there and has an SSH server. It has
# a host name and processes of its own, and a root of its own over this computer's: whatever is configured on it ends with it.
# Usage: unshare --mount --uts --pid --fork --kill-child --propagation private node.sh FOLDER PORT PUBLIC-KEY VENV
# Its sshd listens on 127.0.0.1:PORT and takes that key for root. VENV is the Infrastructure Manager's: the Ansible there is
# found where it would put the one that it downloads.
set -euo pipefail
folder=$1 port=$2 key=$3 venv=$4

mount -t tmpfs -o mode=700 marea-node "$folder"
mkdir "$folder"/{upper,work,root}
mount -t overlay overlay -o "lowerdir=/,upperdir=$folder/upper,workdir=$folder/work" "$folder/root"
root=$folder/root
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
mkdir -p "$root/run/sshd" "$root$venv"
mount --bind "$venv" "$root$venv"

mamba=$root/var/tmp/.mamba
rm -rf "$mamba"
mkdir -p "$mamba/bin" "$mamba/envs/ansible/bin"
cat > "$mamba/bin/micromamba" <<SH
#!/bin/bash
# \`run -n ansible COMMAND\` is that of the environment; it is made already.
[ "\${1:-}" = run ] || exit 0
shift; [ "\${1:-}" = -n ] && shift 2
PATH=$venv/bin:\$PATH exec "\$@"
SH
chmod 755 "$mamba/bin/micromamba"
for name in ansible ansible-playbook ansible-galaxy; do ln -s "$venv/bin/$name" "$mamba/envs/ansible/bin/$name"; done

# What this computer's root logs in by and with is not the node's.
rm -rf "$root"/root/{.ssh,.profile,.bashrc,.bash_profile}
install -d -m 700 "$root/root/.ssh"
install -m 600 "$key" "$root/root/.ssh/authorized_keys"
hostname marea-node
printf '127.0.0.1 localhost marea-node\n' > "$root/etc/hosts"
printf 'ListenAddress 127.0.0.1\nPort %s\nPidFile none\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\nSetEnv PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nSubsystem sftp internal-sftp\n' "$port" > "$root/etc/ssh/sshd_marea"
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot "$root" /bin/sh -c 'ssh-keygen -A > /dev/null && exec /usr/sbin/sshd -D -e -f /etc/ssh/sshd_marea'
