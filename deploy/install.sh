#!/bin/bash
# Puts curtaild on a machine with systemd, takes it to another version and back, and takes it away. docs/install.md is
# the guide; `install.sh help` lists the commands.
#
#   /opt/curtaild/versions/<version>-<digest>/   one environment each, complete and never changed once it stands
#   /opt/curtaild/current, previous              links; the unit starts what `current` points to
#   /etc/curtaild/<site>/site.toml               yours: nothing here writes to it, only `uninstall --purge` removes it
set -euo pipefail
umask 022
unset PYTHONPATH PYTHONHOME # what is built must stand on its own, wherever the caller's Python looks

PROGRAM=${0##*/}
HERE=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
ROOT='' WHEEL='' WHEELHOUSE='' PYTHON=python3 KEEP=3 SETTLE_S=5 PURGE='' YES='' MOVE_JOURNALS='' BRIEF='' WORDS=()
WATCHDOG_USEC=10000000 # as in the unit; `check` compares the cycle with it
EXIT_USAGE=2 EXIT_FAILED=1 EXIT_REFUSED=3

usage() {
    cat <<END
$PROGRAM install | upgrade    build a version from this tree (or --wheel FILE) and make it the current one
        --wheel FILE          a built wheel instead of this tree
        --wheelhouse DIR      take every package from this folder; no network
        --python PROGRAM      the Python to build with (python3)
        --keep N              versions kept afterwards (3)
        --settle SECONDS      how long an instance must stay up after its restart (5)
$PROGRAM rollback [VERSION]   back to the previous version, or a named one
        --move-journals       move journals aside that are too new for it (says what that costs)
$PROGRAM check [SITE...]      check sites with the current version, with the secrets the unit would give them;
                              of a single one the whole effective configuration is shown
        --brief               only whether it is accepted, and what is wrong with it
$PROGRAM status               versions and instances
$PROGRAM uninstall            remove program and unit; configuration and journals stay
        --purge               these too
        --yes                 do not ask
Everywhere: --root DIR        work on the tree below DIR and leave systemd alone (images, tests)
END
}

say() { printf '%s\n' "$*"; }
warn() { printf '%s\n' "$PROGRAM: $*" >&2; }
die() {
    warn "$2"
    exit "$1"
}

# --- where things are -------------------------------------------------------------------------------------------------

set_paths() {
    OPT=$ROOT/opt/curtaild ETC=$ROOT/etc/curtaild STATE=$ROOT/var/lib/curtaild RUN=$ROOT/run/curtaild
    UNITS=$ROOT/usr/local/lib/systemd/system SYSUSERS=$ROOT/usr/local/lib/sysusers.d
    BIN=$ROOT/usr/local/bin SBIN=$ROOT/usr/local/sbin
    # In a source tree this script lies in deploy/; a built version carries it in share/curtaild/ with all it needs.
    if [ -e "$HERE/../pyproject.toml" ]; then
        TREE=$(cd "$HERE/.." && pwd) REQUIREMENTS=$TREE/requirements SYSTEMD=$HERE/systemd DOCS=$TREE/docs
    else
        TREE='' REQUIREMENTS=$HERE/requirements SYSTEMD=$HERE/systemd DOCS=$HERE/docs
    fi
}

with_systemd() { [ -z "$ROOT" ] && [ -d /run/systemd/system ]; }
version_of() { local link; link=$(readlink "$OPT/$1" 2>/dev/null || true); printf '%s' "${link##*/}"; }
directory_of() { printf '%s' "$OPT/versions/$1"; }

sites() {
    local file
    for file in "$ETC"/*/site.toml; do
        [ -e "$file" ] && basename "$(dirname "$file")"
    done
    true
}

# Instances that run, or that systemd is trying to run.
instances() {
    with_systemd || return 0
    systemctl list-units --all --plain --no-legend --full 'curtaild@*.service' |
        awk '$3 == "active" || $3 == "activating" || $3 == "reloading" || $3 == "deactivating" { print $1 }'
}

site_of() { local name=${1#curtaild@}; printf '%s' "${name%.service}"; }
property() { systemctl show --value --property "$2" "$1"; }

link_to() { # atomically: a start sees the old version or the new one, never none
    ln -sfn "$2" "$OPT/.$1.new"
    mv -T "$OPT/.$1.new" "$OPT/$1"
}

# --- building a version -----------------------------------------------------------------------------------------------

new_environment() { # DIRECTORY OPTIONS...
    "$PYTHON" -m venv "$@" || die $EXIT_FAILED "$PYTHON -m venv failed. On Debian: apt-get install python3-venv"
}

# pip lives in an environment that goes when the script ends; a version has none.
pip() { # ENVIRONMENT COMMAND ARGUMENTS...
    local into=$1/bin/python command=$2 source=()
    shift 2
    [ -d "$WORK/tools" ] || new_environment "$WORK/tools"
    [ -z "$WHEELHOUSE" ] || source=(--no-index --find-links "$WHEELHOUSE")
    "$WORK/tools/bin/python" -m pip --python "$into" "$command" --quiet --no-cache-dir --no-input \
        --disable-pip-version-check "${source[@]}" "$@"
}

# Puts the wheel's path into WHEEL.
build_wheel() {
    [ -n "$TREE" ] || die $EXIT_USAGE "there is no source tree here: name a wheel with --wheel"
    say "building the wheel from $TREE"
    new_environment "$WORK/tools"
    pip "$WORK/tools" install --require-hashes --only-binary :all: -r "$REQUIREMENTS/build.txt"
    pip "$WORK/tools" wheel --no-deps --no-build-isolation --wheel-dir "$WORK/wheel" "$TREE"
    WHEEL=$(echo "$WORK"/wheel/curtaild-*.whl)
}

# Sets NEW to the version's name, building the wheel for it. Same wheel, same pins, same unit: same name.
name_version() {
    "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || die $EXIT_FAILED "$PYTHON is older than 3.11"
    if [ -z "$WHEEL" ]; then
        build_wheel
    fi
    [ -r "$WHEEL" ] || die $EXIT_USAGE "$WHEEL cannot be read"
    local name digest
    name=${WHEEL##*/}
    [[ $name == curtaild-*.whl ]] || die $EXIT_USAGE "$name is no wheel of curtaild"
    digest=$(cat "$WHEEL" "$REQUIREMENTS/run.txt" "$SYSTEMD"/curtaild* "$HERE/install.sh" | sha256sum | cut -c1-8)
    NEW=$(cut -d- -f2 <<<"$name")-$digest
}

# Builds NEW, unless it stands already.
build_version() {
    local directory extra commit=''
    directory=$(directory_of "$NEW")
    # It must still run: a new release of the system may have taken its Python away.
    if [ -e "$directory/RELEASE" ] && "$directory/bin/curtaild" --version >/dev/null 2>&1; then
        say "$NEW is built already"
        return
    fi
    say "building $NEW"
    rm -rf "$directory"
    mkdir -p "$OPT/versions"
    BUILDING=$directory # removed if anything below fails
    new_environment "$directory" --without-pip
    pip "$directory" install --require-hashes --only-binary :all: -r "$REQUIREMENTS/run.txt"
    pip "$directory" install --no-deps --no-index "$WHEEL"
    { "$directory/bin/curtaild" --version && "$directory/bin/python" -I -c 'import controller.app'; } >/dev/null || die $EXIT_FAILED "what was built does not run"
    local share=$directory/share/curtaild
    mkdir -p "$share"
    cp -R "$SYSTEMD" "$REQUIREMENTS" "$HERE/install.sh" "$share/"
    [ ! -d "$DOCS" ] || cp -R "$DOCS" "$share/"
    for extra in examples prometheus grafana mosquitto nats; do
        [ ! -d "$HERE/$extra" ] || cp -R "$HERE/$extra" "$share/"
    done
    [ -z "$TREE" ] || commit=$(git -C "$TREE" describe --always --dirty 2>/dev/null || true)
    printf 'version=%s\ncommit=%s\nbuilt=%s\n' "$NEW" "$commit" "$(date -u +%FT%TZ)" >"$directory/.RELEASE"
    sync -f "$directory"
    mv "$directory/.RELEASE" "$directory/RELEASE" # last: a directory without it was never finished
    BUILDING=''
}

# Unfinished builds and versions beyond the newest KEEP; never what is current, was current, or still runs.
prune() {
    local version running number=0
    running=$(for unit in $(instances); do tr '\0' '\n' <"/proc/$(property "$unit" MainPID)/cmdline" 2>/dev/null; done || true)
    while read -r version; do
        number=$((number + 1))
        [ "$number" -gt "$KEEP" ] || [ ! -e "$(directory_of "$version")/RELEASE" ] || continue
        case $version in "$(version_of current)" | "$(version_of previous)") continue ;; esac
        [[ $running != *"/versions/$version/"* ]] || continue
        say "removing version $version"
        rm -rf "$(directory_of "$version")"
    done < <(versions)
}

versions() { # newest first
    [ -d "$OPT/versions" ] || return 0
    find "$OPT/versions" -mindepth 1 -maxdepth 1 -type d -printf '%T@ %f\n' | sort -rn | cut -d' ' -f2
}

# --- checking sites ---------------------------------------------------------------------------------------------------

# A folder that shows `check` the secrets as the unit would: those beside the site file and those of drop-ins.
gather_secrets() { # SITE
    local folder=$WORK/secrets-$1 file
    mkdir -p "$folder" # mktemp made WORK for root alone
    for file in "/run/credentials/curtaild@$1.service"/* "$ETC/$1/secrets"/*; do
        if [ -f "$file" ]; then ln -sfn "$file" "$folder/${file##*/}"; fi
    done
    printf '%s' "$folder"
}

check_site() { # VERSION SITE
    env -i PATH=/usr/bin:/bin LANG=C.UTF-8 CREDENTIALS_DIRECTORY="$(gather_secrets "$2")" STATE_DIRECTORY="/var/lib/curtaild/$2" \
        RUNTIME_DIRECTORY="/run/curtaild/$2" WATCHDOG_USEC=$WATCHDOG_USEC \
        "$(directory_of "$1")/bin/curtaild" check --config "$ETC/$2/site.toml"
}

check_sites() { # VERSION [SITE...]; says what is wrong, and fails if anything is
    local version=$1 site refused=0 output list
    shift
    list=("$@")
    [ $# -gt 0 ] || mapfile -t list < <(sites)
    for site in "${list[@]}"; do
        if output=$(check_site "$version" "$site" 2>&1); then
            say "site $site: accepted by $version"
        else
            refused=$((refused + 1))
            printf '%s\n' "$output" >&2
            warn "site $site: refused by $version"
        fi
    done
    [ "$refused" = 0 ]
}

# --- journals ---------------------------------------------------------------------------------------------------------

schema_known_to() { # VERSION
    "$(directory_of "$1")/bin/python" -I -c 'from controller.runtime.journal_file import SCHEMA_VERSION as v; print(v)'
}

# Read from the file's header (bytes 60 to 63) without opening a database that another user owns; 0 where there is none.
schema_of_journal() { # SITE
    local bytes
    read -r -a bytes < <(od -An -tu1 -j60 -N4 "$STATE/$1/journal.sqlite" 2>/dev/null || true) || true
    [ "${#bytes[@]}" = 4 ] || { printf 0; return; }
    printf '%d' $((bytes[0] << 24 | bytes[1] << 16 | bytes[2] << 8 | bytes[3]))
}

journal_is_too_new() { # VERSION SITE
    [ "$(schema_of_journal "$2")" -gt "$(schema_known_to "$1")" ]
}

move_journal() { # SITE; its daemon must be stopped
    local stamp part
    stamp=$(date -u +%Y%m%dT%H%M%S)
    for part in '' -wal -shm; do
        [ ! -e "$STATE/$1/journal.sqlite$part" ] || mv "$STATE/$1/journal.sqlite$part" "$STATE/$1/journal.sqlite.newer-$stamp$part"
    done
    warn "site $1: its journal was too new for this version and lies now in $STATE/$1/journal.sqlite.newer-$stamp."
    warn "  The daemon starts with an empty one. It no longer knows which sleepers are its own: it leaves them asleep until"
    warn "  \`curtaild adopt --site $1 --all\`. Orders in force and the miners' profiles from before are forgotten as well."
}

# --- switching --------------------------------------------------------------------------------------------------------

install_unit() { # VERSION
    local share
    share=$(directory_of "$1")/share/curtaild
    mkdir -p "$UNITS" "$SYSUSERS" "$BIN" "$SBIN" "$ETC"
    install -m 644 "$share/systemd/curtaild@.service" "$UNITS/"
    install -m 644 "$share/systemd/curtaild.conf" "$SYSUSERS/"
    ln -sfn "$OPT/current/bin/curtaild" "$BIN/curtaild"
    ln -sfn "$OPT/current/share/curtaild/install.sh" "$SBIN/curtaild-setup"
    with_systemd || return 0
    systemd-sysusers "$SYSUSERS/curtaild.conf"
    systemctl daemon-reload
}

point_to() { # VERSION
    local before
    before=$(version_of current)
    install_unit "$1"
    [ -z "$before" ] || [ "$before" = "$1" ] || link_to previous "versions/$before"
    link_to current "versions/$1"
}

# Restart one instance and see it stay up. systemctl waits for READY=1, which comes after the first healthy cycle.
restart_instance() { # UNIT
    local pid since=$SECONDS
    systemctl restart "$1" || return 1
    pid=$(property "$1" MainPID)
    sleep "$SETTLE_S"
    [ "$(property "$1" ActiveState) $(property "$1" MainPID)" = "active $pid" ] || return 1
    say "$1: up after $((SECONDS - since - SETTLE_S)) s and still after $SETTLE_S s more: $(property "$1" StatusText)"
}

bring_up() { # VERSION UNIT
    local site
    site=$(site_of "$2")
    if journal_is_too_new "$1" "$site"; then
        systemctl stop "$2" # what the miners were told last holds
        move_journal "$site"
    fi
    restart_instance "$2"
}

# Restart the instances one by one; when one does not come up, all go back to the version before.
switch_to() { # VERSION
    local version=$1 before earlier unit back touched=()
    before=$(version_of current)
    earlier=$(version_of previous)
    point_to "$version"
    for unit in $(instances); do
        touched+=("$unit")
        if bring_up "$version" "$unit"; then continue; fi
        warn "$unit did not come up with $version; its last words:"
        journalctl --unit "$unit" --lines 15 --no-pager --output cat >&2 || true
        if [ -z "$before" ] || [ "$before" = "$version" ]; then die $EXIT_FAILED "there is no version to go back to"; fi
        warn "going back to $before"
        point_to "$before"
        if [ -n "$earlier" ]; then link_to previous "versions/$earlier"; else rm -f "$OPT/previous"; fi # not the failed one
        for back in "${touched[@]}"; do
            bring_up "$before" "$back" || warn "$back does not come up with $before either: see journalctl -u $back"
        done
        exit $EXIT_FAILED
    done
    say "current version: $version"
}

# --- commands ---------------------------------------------------------------------------------------------------------

do_install() { # install or upgrade
    local before
    before=$(version_of current)
    [ "$1" = install ] || [ -n "$before" ] || die $EXIT_USAGE "nothing is installed yet: use install"
    name_version
    [ "$1" = upgrade ] || [ -z "$before" ] || [ "$before" = "$NEW" ] ||
        die $EXIT_USAGE "$before is installed: use upgrade to go to $NEW"
    build_version
    check_sites "$NEW" || die $EXIT_REFUSED "nothing was switched, what ran runs on. Mend the sites above and call again."
    if [ "$before" = "$NEW" ]; then
        install_unit "$NEW"
        say "$NEW is current already; no instance was restarted"
    else
        warn_of_schema "$before" "$NEW"
        switch_to "$NEW"
    fi
    prune
}

warn_of_schema() { # BEFORE NEW
    [ -n "$1" ] && [ "$(schema_known_to "$2")" -gt "$(schema_known_to "$1")" ] || return 0
    warn "$2 writes a newer journal than $1 can read: a later rollback will have to begin with an empty one"
}

do_rollback() {
    local target=${1:-$(version_of previous)} site too_new=()
    [ -n "$target" ] || die $EXIT_USAGE "there is no previous version"
    [ -e "$(directory_of "$target")/RELEASE" ] || die $EXIT_USAGE "there is no version $target; there are: $(versions | tr '\n' ' ')"
    [ "$target" != "$(version_of current)" ] || die $EXIT_USAGE "$target is the current version"
    check_sites "$target" || die $EXIT_REFUSED "nothing was switched, what ran runs on"
    for site in $(sites); do
        if journal_is_too_new "$target" "$site"; then too_new+=("$site"); fi
    done
    if [ ${#too_new[@]} -gt 0 ]; then
        [ -n "$MOVE_JOURNALS" ] || die $EXIT_REFUSED "the journals of ${too_new[*]} are too new for $target. Either stay, or
call again with --move-journals: they are kept beside the new, empty ones, and the daemon no longer knows which sleepers
are its own (adopt them), which orders are in force, and the miners' profiles from before. Nothing was switched."
        for site in "${too_new[@]}"; do # those that run are seen to as they are restarted
            if ! with_systemd || ! systemctl is-active --quiet "curtaild@$site"; then move_journal "$site"; fi
        done
    fi
    switch_to "$target"
}

do_check() {
    local version
    version=$(version_of current)
    [ -n "$version" ] || die $EXIT_USAGE "nothing is installed"
    if [ $# = 1 ] && [ -z "$BRIEF" ]; then
        check_site "$version" "$1"
    else
        check_sites "$version" "$@" || exit $EXIT_REFUSED
    fi
}

do_status() {
    local version mark unit pid runs
    [ -n "$(version_of current)" ] || say "nothing is installed"
    for version in $(versions); do
        mark=''
        [ "$version" != "$(version_of current)" ] || mark=current
        [ "$version" != "$(version_of previous)" ] || mark=previous
        [ -e "$(directory_of "$version")/RELEASE" ] || mark=unfinished
        printf 'version %-24s %-10s %s\n' "$version" "$mark" "$(sed -n 's/^built=/built /p; s/^commit=\(.\)/commit \1/p' "$(directory_of "$version")/RELEASE" 2>/dev/null | tr '\n' ' ')"
    done
    for unit in $(instances); do
        pid=$(property "$unit" MainPID)
        runs=$(tr '\0' '\n' <"/proc/$pid/cmdline" 2>/dev/null | sed -n 's|.*/versions/\([^/]*\)/.*|\1|p' | head -n 1 || true)
        printf '%-28s %-10s %s, restarted by systemd %s times: %s\n' "$unit" "$(property "$unit" ActiveState)" \
            "${runs:-not running}" "$(property "$unit" NRestarts)" "$(property "$unit" StatusText)"
        [ -z "$runs" ] || [ "$runs" = "$(version_of current)" ] || say "  it still runs another version than the current one: systemctl restart $unit"
    done
    for site in $(sites); do
        if with_systemd && ! systemctl is-active --quiet "curtaild@$site"; then say "site $site: configured, not running"; fi
    done
}

do_uninstall() {
    local unit answer
    warn "this stops and removes the program. Miners stay as they were last told, asleep or hashing, for as long as nobody"
    warn "tells them otherwise. To give them back first: docs/install.md, \"Taking curtaild away from a site\"."
    if [ -n "$PURGE" ]; then
        warn "--purge: configuration, secrets and journals go too, and with them the only record of the miners' prior profiles."
    fi
    if [ -z "$YES" ]; then
        [ -t 0 ] || die $EXIT_USAGE "say --yes, there is nobody to ask"
        read -r -p "Type yes to go on: " answer
        [ "$answer" = yes ] || die $EXIT_USAGE "nothing was removed"
    fi
    for unit in $(instances); do
        systemctl stop "$unit"
        say "$unit: stopped"
    done
    if with_systemd; then
        for site in $(sites); do systemctl disable --quiet "curtaild@$site" 2>/dev/null || true; done
    fi
    rm -f "$UNITS/curtaild@.service" "$SYSUSERS/curtaild.conf"
    rm -f "$BIN/curtaild" "$SBIN/curtaild-setup"
    rm -rf "$OPT" "$RUN"
    if with_systemd; then systemctl daemon-reload; fi
    if [ -n "$PURGE" ]; then
        rm -rf "$ETC" "$STATE" "$ROOT/var/lib/private/curtaild" "$ROOT/etc/systemd/system/curtaild@"*.service.d
        say "removed, with configuration and journals"
    else
        say "removed. Kept: $ETC, the journals in $STATE, drop-ins in $ROOT/etc/systemd/system, the group curtaild."
    fi
}

clean_up() {
    [ -z "${WORK:-}" ] || rm -rf "$WORK"
    [ -z "${BUILDING:-}" ] || rm -rf "$BUILDING"
}

parse() {
    while [ $# -gt 0 ]; do
        case $1 in
        --wheel) WHEEL=$(readlink -f "${2:?a file}") && shift ;;
        --wheelhouse) WHEELHOUSE=$(readlink -f "${2:?a folder}") && shift ;;
        --python) PYTHON=$(command -v "${2:?a program}" | xargs realpath -s) && shift ;;
        --keep) KEEP=${2:?a number} && shift ;;
        --settle) SETTLE_S=${2:?seconds} && shift ;;
        --root) ROOT=$(readlink -f "${2:?a folder}") && shift ;;
        --purge) PURGE=yes ;;
        --yes) YES=yes ;;
        --brief) BRIEF=yes ;;
        --move-journals) MOVE_JOURNALS=yes ;;
        -*) usage >&2 && die $EXIT_USAGE "unknown option $1" ;;
        *) WORDS+=("$1") ;;
        esac
        shift
    done
}

main() {
    [ $# -gt 0 ] || { usage >&2; exit $EXIT_USAGE; }
    local command=$1
    shift
    parse "$@"
    cd / # Python would take modules of the folder it is called in for its own
    case $command in help | -h | --help) usage && exit ;; esac
    set_paths
    [ -n "$ROOT" ] || [ "$(id -u)" = 0 ] || die $EXIT_USAGE "this needs root: sudo $0 $command"
    case $command in
    status) do_status; exit ;;
    check | install | upgrade | rollback | uninstall) ;;
    *) usage >&2 && die $EXIT_USAGE "unknown command $command" ;;
    esac
    trap clean_up EXIT
    trap 'exit 130' INT TERM
    WORK=$(mktemp -d "${TMPDIR:-/tmp}/curtaild-setup.XXXXXX")
    if [ "$command" = check ]; then do_check "${WORDS[@]}"; exit; fi
    mkdir -p "$OPT"
    exec 9>"$OPT/.lock"
    flock -n 9 || die $EXIT_FAILED "another $PROGRAM is at work"
    case $command in
    install | upgrade) do_install "$command" ;;
    rollback) do_rollback "${WORDS[@]}" ;;
    uninstall) do_uninstall ;;
    esac
}

main "$@"
