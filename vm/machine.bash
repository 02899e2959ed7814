# The machine that `vm/image` saves and `vm/run` restores; both source this file.
# shellcheck shell=bash
#
# It owns the command line of QEMU, the folder of the images and the names of the files in it. A saved machine can only
# be restored into one with the same devices, memory and processors: whatever differs from run to run must therefore be
# no device, but what stands behind one: a disk's overlay, a share's folder, the far end of a serial port.

vm=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
shares_max=4
memory=3G

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 125
}

# image_packages IMAGE: what is installed on it.
image_packages() {
    case $1 in
    base) cat "$vm/packages" ;;
    engines | suite) cat "$vm/packages" "$vm/packages.$1" ;;
    *) die "no such image: $1 (base, engines or suite)" ;;
    esac
}

# image_dir IMAGE: where it is. An image is called by the hash of all that it is made of, so that a change of any of it is
# another image, and QEMU's version because a saved machine belongs to the version that saved it.
#   root.raw, vmlinuz, initrd       the disk (ext4), its kernel, and what finds the disk
#   packages                        what is installed, with versions
#   LAYOUT.disk LAYOUT.ram LAYOUT.state   a machine that has booted and waits for its job
image_dir() {
    local id
    id=$({ cat "$vm"/{machine.bash,image,kernel} "$vm"/guest/* && image_packages "$1" && qemu-system-x86_64 --version; } |
        sha256sum)
    echo "${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/cntr/vm/${id:0:16}"
}

# layout_args LAYOUT: the kernel parameters with which systemd mounts cgroups like that.
layout_args() {
    local v1='systemd.unified_cgroup_hierarchy=0 SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1'
    case $1 in
    v2) ;;
    v1) echo "$v1 systemd.legacy_systemd_cgroup_controller=1" ;;
    hybrid) echo "$v1 systemd.legacy_systemd_cgroup_controller=0" ;;
    *) die "no such layout of cgroups: $1 (v2, v1 or hybrid)" ;;
    esac
}

# machine_start DIR TMP TIMEOUT RAM DISK ARGS [OPTION...]: starts QEMU in the image's DIR as the child $machine.
# RAM and DISK are options of -object and -drive, ARGS are kernel parameters. Folders in the array `shares` are behind
# the 9p devices, as "MODE PATH".
#
# The new folder TMP gets the pipes
#   monitor            commands for QEMU; $monitor is open for writing
#   job.in, job.out    the serial port on which a job goes in, by $job, and "ready" and "exit N" come out, by $answers
#   stdout, stderr     the job's output: somebody has to read them before this is called
# and the files console, with the kernel's messages, and log, with QEMU's.
machine_start() {
    local dir=$1 tmp=$2 timeout=$3 ram=$4 disk=$5 args=$6 i path readonly qemu port
    shift 6
    mkdir "$tmp/none"
    mkfifo "$tmp/monitor" "$tmp"/job.{in,out}
    # open for both, so that nobody waits for QEMU to open the other end, which it might never do
    exec {monitor}<>"$tmp/monitor" {job}<>"$tmp/job.in" {answers}<>"$tmp/job.out"
    # shellcheck disable=SC2054 # the commas are QEMU's
    qemu=(
        qemu-system-x86_64 -nodefaults -no-user-config -no-reboot -display none -nic none -monitor stdio
        -machine q35,memory-backend=ram -m "$memory" -smp 2 -object "$ram,id=ram,size=$memory"
        # Page tables of five levels would only make emulated page walks longer.
        -accel tcg,thread=multi -cpu max,la57=off
        -kernel vmlinuz -initrd initrd
        -append "console=ttyS0 quiet panic=-1 mitigations=off lsm=landlock,yama,apparmor systemd.show_status=0 $args"
        -serial "file:${tmp//,/,,}/console"
        -drive "if=virtio,cache=unsafe,discard=unmap,$disk"
        # Tells a restored kernel that its random numbers have been seen before.
        -device vmgenid,guid=auto
        -device virtio-serial
        -chardev "pipe,id=job,path=${tmp//,/,,}/job"
        -chardev "file,id=stdout,path=${tmp//,/,,}/stdout"
        -chardev "file,id=stderr,path=${tmp//,/,,}/stderr"
    )
    for port in job stdout stderr; do
        qemu+=(-device "virtserialport,name=$port,chardev=$port")
    done
    for ((i = 0; i < shares_max; i++)); do
        path=$tmp/none readonly=on
        [[ -z ${shares[i]-} ]] || path=${shares[i]#* }
        [[ ${shares[i]-} != rw\ * ]] || readonly=off
        qemu+=(-fsdev "local,id=share$i,path=${path//,/,,},readonly=$readonly,security_model=none,multidevs=remap")
        qemu+=(-device "virtio-9p-pci,fsdev=share$i,mount_tag=share$i")
    done
    # It ends when this script does, however that may be. QEMU's overlay of the disk goes to TMPDIR.
    (
        cd "$dir"
        TMPDIR=$tmp exec setpriv --pdeathsig TERM timeout --kill-after=5 "$timeout" "${qemu[@]}" "$@" \
            <"$tmp/monitor" >"$tmp/log" 2>&1
    ) &
    machine=$!
}

# machine_say COMMAND...: lines for QEMU's monitor, which takes one after the other. The memory of a saved machine is
# its file, and no part of the rest.
machine_say() {
    printf '%s\n' 'migrate_set_capability x-ignore-shared on' "$@" >&"$monitor"
}

# machine_log TMP: what there is to see of a machine that failed.
machine_log() {
    tail -n 25 "$1"/{console,log} >&2 2>/dev/null || true
}

# machine_end TMP: ends what runs and removes the folder.
machine_end() {
    local pids
    mapfile -t pids < <(jobs -pr)
    [[ ${#pids[@]} == 0 ]] || kill "${pids[@]}" 2>/dev/null || true
    wait
    rm -rf "$@"
}
