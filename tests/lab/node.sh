#!/bin/bash
# Runs as the first process of a node: inside fresh mount/pid/uts/ipc(/cgroup) namespaces
# and already inside the node's network namespace.  Builds the node's root file system
# view, pivots into it and becomes PID 1 (tini) of the node.
# Environment: NODE ADDR FLAVOR MODE LABDIR ROOTSIZE DATAROOT PUBKEY ROOTPW USERPW SUBNET NODES GW
set -eu
N=$NODE; R=$LABDIR/mnt; mkdir -p "$R"
mount --make-rprivate /
mount -t tmpfs -o "size=$ROOTSIZE,mode=755" "node-$N" "$R"
cd "$R"
mkdir -p .ovl/usr/u .ovl/usr/w .ovl/etc/u .ovl/etc/w usr etc proc sys dev run root home opt srv mnt tmp old \
         var/lib/docker var/log var/tmp var/cache var/empty run/lock run/sshd opt/inference
mount -t tmpfs -o size=64m,mode=755 run run; mkdir -p run/lock run/sshd      # own tmpfs: a full / must not break /run
chmod 1777 tmp var/tmp; chmod 700 root; chmod 711 var/lib/docker; chmod 755 run/sshd
ln -s /run var/run
for l in bin sbin lib lib32 lib64 libx32; do [ -L /$l ] && ln -s "$(readlink /$l)" $l || true; done
# --- read-only host /usr and /etc below, node-private changes above -------------------
mount -t overlay "usr-$N" -o lowerdir=/usr,upperdir=$R/.ovl/usr/u,workdir=$R/.ovl/usr/w usr
mount -t overlay "etc-$N" -o lowerdir=/etc,upperdir=$R/.ovl/etc/u,workdir=$R/.ovl/etc/w etc
# --- accounts --------------------------------------------------------------------------
cat > etc/passwd <<P
root:x:0:0:root:/root:/bin/bash
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
sshd:x:105:65534::/run/sshd:/usr/sbin/nologin
ops:x:1000:1000:operator in the docker group:/home/ops:/bin/bash
guest:x:1001:1001:user without docker access:/home/guest:/bin/bash
admin:x:1002:1002:user with sudo:/home/admin:/bin/bash
P
cat > etc/group <<P
root:x:0:
daemon:x:1:
tty:x:5:
nogroup:x:65534:
sudo:x:27:admin
docker:x:998:ops
ops:x:1000:
guest:x:1001:
admin:x:1002:
P
H() { openssl passwd -6 -salt labsalt "$1"; }
printf 'root:%s:19000:0:99999:7:::\nops:%s:19000:0:99999:7:::\nguest:%s:19000:0:99999:7:::\nadmin:%s:19000:0:99999:7:::\nsshd:!:19000::::::\n' \
   "$(H "$ROOTPW")" "$(H "$USERPW")" "$(H "$USERPW")" "$(H "$USERPW")" > etc/shadow
chmod 640 etc/shadow; rm -f etc/gshadow
for u in root:0 ops:1000 guest:1001 admin:1002; do n=${u%%:*}; i=${u##*:}
  h=root; [ $n = root ] || h=home/$n; mkdir -p $h/.ssh; cp "$PUBKEY" $h/.ssh/authorized_keys
  chmod 700 $h/.ssh; chmod 600 $h/.ssh/authorized_keys; chown -R $i:$i $h; done
if [ -d etc/sudoers.d ]; then echo 'admin ALL=(ALL:ALL) NOPASSWD: ALL' > etc/sudoers.d/lab; chmod 440 etc/sudoers.d/lab; fi
# --- identity ---------------------------------------------------------------------------
hostname "$N"; echo "$N" > etc/hostname
{ echo "127.0.0.1 localhost"; for x in $NODES; do echo "${x#*=} ${x%%=*}"; done; [ -z "${GW:-}" ] || echo "$GW controller"; } > etc/hosts
rm -f etc/resolv.conf
if [ "$MODE" = ns ]; then echo "nameserver $GW" > etc/resolv.conf; else echo "nameserver 127.0.0.1" > etc/resolv.conf; fi
echo "options timeout:1 attempts:1" >> etc/resolv.conf
rm -f etc/ssh/ssh_host_*; cp "$LABDIR"/hostkeys/ssh_host_* etc/ssh/; chmod 600 etc/ssh/ssh_host_*_key
rm -rf etc/ssh/sshd_config.d
cat > etc/ssh/sshd_config <<P
ListenAddress $ADDR:22
HostKey /etc/ssh/ssh_host_ed25519_key
HostKey /etc/ssh/ssh_host_rsa_key
PermitRootLogin yes
PasswordAuthentication yes
KbdInteractiveAuthentication no
PubkeyAuthentication yes
UsePAM ${USEPAM:-no}
UseDNS no
PidFile /run/sshd.pid
Subsystem sftp /usr/lib/openssh/sftp-server
${SSHD_EXTRA:-}
P
# --- docker flavour: what a `docker`/`docker-compose` in an SSH session finds --------------
NEWCLI=/usr/local/bin/docker; OLDCLI=/usr/bin/docker
plug() { mkdir -p usr/libexec/docker/cli-plugins; : > usr/libexec/docker/cli-plugins/docker-compose
         mount --bind "$COMPOSE_V2" usr/libexec/docker/cli-plugins/docker-compose; }
case $FLAVOR in
  v1)   rm -f .$NEWCLI ;;                                   # 20.10 CLI + docker-compose 1.29.2
  v2)   rm -f usr/bin/docker-compose; plug ;;               # 28.2 CLI + plugin 2.40.3
  v2old) rm -f usr/bin/docker-compose .$NEWCLI; plug ;;     # 20.10 CLI + plugin
  both) plug ;;
  none) rm -f usr/bin/docker-compose .$NEWCLI ;;            # engine and CLI, no compose at all
  bare) rm -f usr/bin/docker-compose .$NEWCLI .$OLDCLI usr/sbin/dockerd ;;   # no docker
esac
cp "$LABRUNC" usr/local/sbin/lab-runc; mkdir -p etc/docker; rm -f etc/docker/key.json   # else every engine has the same ID
if [ "$MODE" = ns ]; then
  cat > etc/docker/daemon.json <<P
{"insecure-registries":["$GW:5000"],"log-driver":"json-file","userland-proxy":true,
 "runtimes":{"lab":{"path":"/usr/local/sbin/lab-runc"}},"default-runtime":"lab"}
P
else
  cat > etc/docker/daemon.json <<P
{"bridge":"none","iptables":false,"ip-forward":false,"ip":"$ADDR","insecure-registries":["127.0.0.0/8"],
 "default-address-pools":[{"base":"172.30.$IDX.0/24","size":28}]}
P
fi
mount --bind "$DATAROOT" var/lib/docker
# --- kernel file systems --------------------------------------------------------------------
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t tmpfs -o mode=755,size=1m dev dev
for d in null:1:3 zero:1:5 full:1:7 random:1:8 urandom:1:9 tty:5:0 fuse:10:229; do IFS=: read -r n a b <<<"$d"; mknod -m 666 dev/$n c $a $b; done
mkdir dev/net; mknod -m 666 dev/net/tun c 10 200; ln -s /proc/self/fd dev/fd; ln -s fd/0 dev/stdin; ln -s fd/1 dev/stdout; ln -s fd/2 dev/stderr
mkdir dev/pts dev/shm dev/mqueue; mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts; ln -s pts/ptmx dev/ptmx
mount -t tmpfs -o size=64m shm dev/shm; mount -t mqueue mqueue dev/mqueue
mount -t tmpfs -o mode=755 cg sys/fs/cgroup
for c in $CGROUPS; do mkdir sys/fs/cgroup/$c; mount -t cgroup -o $c cgroup sys/fs/cgroup/$c; done
mkdir sys/fs/cgroup/systemd; mount -t cgroup -o none,name=systemd cgroup sys/fs/cgroup/systemd
# --- service helper (start|stop|kill|status NAME) -------------------------------------------
cat > usr/local/sbin/svc <<'P'
#!/bin/bash
n=$2; pf=/run/$n.pid; [ $n = dockerd ] && pf=/run/docker.pid
alive() { [ -s $pf ] && kill -0 "$(cat $pf)" 2>/dev/null; }
case $1 in
 start) alive && exit 0; rm -f $pf
   case $n in
     sshd) env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin ${SSHD_ENV:-} /usr/sbin/sshd -E /var/log/sshd.log ;;
     dockerd) [ -x /usr/sbin/dockerd ] || exit 0
        env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin setsid /usr/sbin/dockerd >>/var/log/dockerd.log 2>&1 </dev/null & ;;
   esac ;;
 stop) alive && kill "$(cat $pf)"; for i in $(seq 400); do alive || break; sleep .1; done ;;   # dockerd gives containers 10-15 s
 kill) alive && kill -9 "$(cat $pf)" ;;
 restart) $0 stop $n; $0 start $n ;;
 status) alive && echo running || echo stopped ;;
esac
P
chmod 755 usr/local/sbin/svc
# --- pivot ------------------------------------------------------------------------------------
pivot_root . old
cd /
umount -l /old; rmdir /old
cat > /run/boot.sh <<'P'
svc start sshd; svc start dockerd; exec sleep infinity
P
exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root container=pklab \
     /usr/bin/tini -- /bin/sh /run/boot.sh
