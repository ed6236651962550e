#!/usr/bin/env bash
# A SLURM of one node on this machine, for the tests (Debian or Ubuntu, as root). Does nothing where it answers already.
set -euo pipefail

CONF=/etc/slurm/slurm.conf
CPUS=4  # whatever there are: the tests' jobs sleep most of the time
MEMORY=$(awk '/MemTotal/ {print int($2 / 1024 * 0.9)}' /proc/meminfo)

if [ -e $CONF ] && ! grep -q ClusterName=tests $CONF; then
    echo "$CONF is another SLURM's: not touched" >&2
    exit 1
fi
if ! hash slurmctld slurmd munged 2>/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends slurm-wlm munge >/dev/null
fi

# cred_expire is also how long a requeued job waits before it starts again; KillWait is what an ended job has to save.
# A job in "urgent" preempts those in "main".
wanted=$(
    cat <<END
ClusterName=tests
SlurmctldHost=localhost(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=cred_expire=5
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
JobRequeue=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
ReturnToService=2
SlurmdParameters=config_overrides
MpiDefault=none
StateSaveLocation=/var/spool/slurmctld
SlurmdSpoolDir=/var/spool/slurmd
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile=/run/slurmd.pid
SlurmctldLogFile=/var/log/slurmctld.log
SlurmdLogFile=/var/log/slurmd.log
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0
DefMemPerCPU=$((MEMORY / CPUS))
KillWait=20
MinJobAge=600
NodeName=localhost NodeAddr=127.0.0.1 CPUs=$CPUS RealMemory=$MEMORY State=UNKNOWN
PartitionName=main Nodes=localhost Default=YES PriorityTier=1 GraceTime=60
PartitionName=urgent Nodes=localhost PriorityTier=2
END
)

if [ "$(cat $CONF 2>/dev/null)" != "$wanted" ]; then
    for daemon in slurmctld slurmd; do
        if pid=$(pgrep -x $daemon); then
            kill "$pid"
            tail --pid="$pid" -f /dev/null
        fi
    done
    mkdir -p /etc/slurm /var/spool/slurmctld /var/spool/slurmd
    echo "$wanted" >$CONF
fi
if ! pgrep -x munged >/dev/null; then
    install -d -o munge -g munge -m 0755 /run/munge
    install -d -o munge -g munge -m 0700 /var/log/munge /var/lib/munge
    [ -e /etc/munge/munge.key ] || mungekey --create
    chown -R munge:munge /etc/munge
    runuser -u munge -- munged
fi
pgrep -x slurmctld >/dev/null || slurmctld
pgrep -x slurmd >/dev/null || slurmd -N localhost

for _ in $(seq 60); do
    if timeout 5 sinfo --noheader --format=%t 2>/dev/null | grep -qE 'idle|mix|alloc'; then
        exit 0
    fi
    timeout 5 scontrol update nodename=localhost state=resume 2>/dev/null || true
    sleep 0.5
done
echo "SLURM does not answer; its log:" >&2
tail -20 /var/log/slurmctld.log /var/log/slurmd.log >&2
exit 1
