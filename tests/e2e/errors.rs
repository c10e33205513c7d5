//! What the daemon says when it can't start: one line with what is wrong and the command that mends it, and
//! an exit status of 1, or 2 where the command line itself is wrong.

use std::process::Command;
use std::time::Duration;

use crate::harness::{Daemon, Ended, in_namespace, run, sh, up_fails};

/// Checks status and form, and that the one line holds every one of `parts`.
fn complains(ended: &Ended, status: i32, parts: &[&str]) {
    assert_eq!(ended.status.code(), Some(status), "{ended:?}");
    assert_eq!(ended.stdout, "", "it must not say ready: {ended:?}");
    assert_eq!(ended.stderr.trim_end().lines().count(), 1, "not one line: {ended:?}");
    for part in parts {
        assert!(ended.stderr.contains(part), "{part:?} is missing: {}", ended.stderr);
    }
}

/// Runs the daemon behind another program, such as `setpriv`.
fn up_behind(words: &[&str], arguments: &str) -> Ended {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).arg(env!("CARGO_BIN_EXE_tunstack")).arg("up");
    run(command.args(arguments.split_whitespace()).env_remove("RUST_LOG"), Duration::from_secs(10))
}

#[test]
fn without_privilege_it_says_so_and_names_two_ways_round() {
    in_namespace(|| {
        let ended = up_behind(&["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--"], "");
        complains(&ended, 1, &["CAP_NET_ADMIN", "sudo", "scripts/rootless", "scripts/persistent-tun"]);
    });
}

#[test]
fn without_the_tun_device_file_it_says_how_to_get_one() {
    in_namespace(|| {
        // A mount namespace in which an empty directory lies over /dev/net.
        let hide = "mount -t tmpfs none /dev/net && exec \"$@\"";
        let ended = up_behind(&["unshare", "-m", "sh", "-c", hide, "sh"], "");
        complains(&ended, 1, &["/dev/net/tun", "modprobe tun"]);
    });
}

#[test]
fn a_device_file_that_may_not_be_opened_is_told_apart_from_one_that_is_missing() {
    in_namespace(|| {
        let hide = "mount -t tmpfs none /dev/net && touch /dev/net/tun && chmod 000 /dev/net/tun && \
                    exec setpriv --bounding-set=-all --inh-caps=-all -- \"$@\"";
        let ended = up_behind(&["unshare", "-m", "sh", "-c", hide, "sh"], "");
        complains(&ended, 1, &["/dev/net/tun", "permission", "chmod"]);
    });
}

#[test]
fn another_file_in_the_place_of_the_device_file_is_called_that() {
    in_namespace(|| {
        let hide = "mount -t tmpfs none /dev/net && touch /dev/net/tun && exec \"$@\"";
        let ended = up_behind(&["unshare", "-m", "sh", "-c", hide, "sh"], "");
        complains(&ended, 1, &["/dev/net/tun is not the TUN driver", "mknod /dev/net/tun c 10 200"]);
    });
}

#[test]
fn a_network_that_the_loopback_interface_owns_whole_is_refused_with_what_frees_it() {
    in_namespace(|| {
        sh("ip address add 10.9.0.77/24 dev lo");
        complains(&up_fails(""), 1, &["10.9.0.0/24", "sudo ip address del 10.9.0.77/24 dev lo"]);
        sh("ip address del 10.9.0.77/24 dev lo");
        sh("ip route add local 10.9.0.0/16 dev lo");
        complains(&up_fails(""), 1, &["sudo ip route del local 10.9.0.0/16 dev lo table local"]);
        sh("ip route del local 10.9.0.0/16 dev lo table local");
        Daemon::up("");
    });
}

#[test]
fn an_mtu_too_small_for_ipv6_is_named_with_the_address_that_needs_more() {
    in_namespace(|| {
        sh("ip tuntap add dev small mode tun");
        sh("ip link set small mtu 1000");
        complains(
            &up_fails("--tun small --addr fd01::1/64"),
            1,
            &["fd01::", "1000", "1280", "ip link set small"],
        );
    });
}

#[test]
fn two_devices_whose_networks_overlap_are_refused() {
    in_namespace(|| {
        let ended = up_fails("--tun a --addr 10.1.0.1/24 --tun b --addr 10.1.0.129/25");
        complains(&ended, 2, &["10.1.0.129/25 of b", "10.1.0.1/24 of a"]);
    });
}

#[test]
fn a_name_longer_than_the_kernel_allows_is_refused_not_cut() {
    in_namespace(|| {
        let ended = up_fails("--tun abcdefghijklmnop");
        assert!(matches!(ended.status.code(), Some(1 | 2)), "{ended:?}");
        complains(&ended, ended.status.code().unwrap_or_default(), &["abcdefghijklmnop", "15"]);
        assert!(!sh("ip link show").contains("abcdefghijklmno"));
        // Fifteen are fine.
        drop(Daemon::up("--tun abcdefghijklmno"));
    });
}

#[test]
fn a_device_that_another_process_holds_is_named() {
    in_namespace(|| {
        let _first = Daemon::up("--tun tun3");
        let ended = up_fails("--tun tun3 --addr 10.77.0.2/24 --host-addr 10.77.0.1/24");
        complains(&ended, 1, &["tun3"]);
    });
}

#[test]
fn a_name_that_belongs_to_another_kind_of_interface_is_refused() {
    in_namespace(|| complains(&up_fails("--tun lo"), 1, &["lo"]));
}

#[test]
fn queue_flags_that_do_not_match_are_explained_with_the_command_that_mends_them() {
    in_namespace(|| {
        sh("ip tuntap add dev many0 mode tun multi_queue");
        complains(&up_fails("--tun many0"), 1, &["many0", "ip tuntap"]);
    });
}

#[test]
fn a_tap_device_is_not_taken_for_a_tun() {
    in_namespace(|| {
        sh("ip tuntap add dev tap0 mode tap");
        complains(&up_fails("--tun tap0"), 1, &["tap0"]);
    });
}

#[test]
fn bad_addresses_are_usage_errors_that_quote_what_was_given() {
    in_namespace(|| {
        for cidr in
            ["10.9.0.300/24", "10.9.0.2/33", "10.9.0.2", "nonsense", "fd09::2/129", "10.9.0.0/24", "::/64"]
        {
            complains(&up_fails(&format!("--addr {cidr}")), 2, &["--addr"]);
            complains(&up_fails(&format!("--host-addr {cidr}")), 2, &["--host-addr"]);
        }
    });
}

#[test]
fn bad_service_lists_are_usage_errors() {
    in_namespace(|| {
        for list in ["telnet:23", "echo:0", "echo:65536", "echo:seven", "echo:7,discard:7", ","] {
            complains(&up_fails(&format!("--serve {list}")), 2, &["--serve"]);
        }
        complains(&up_fails("--no-such-option"), 2, &["--no-such-option"]);
    });
}

#[test]
fn a_connected_route_on_another_interface_that_overlaps_is_named() {
    in_namespace(|| {
        sh("ip tuntap add dev other0 mode tun");
        sh("ip address add 10.9.200.1/16 dev other0");
        sh("ip link set other0 up");
        complains(&up_fails(""), 1, &["other0", "10.9."]);
        assert!(!sh("ip link show").contains("tun0"), "nothing may be left behind");
        // Another network is fine beside it.
        drop(Daemon::up("--addr 10.10.0.2/24 --host-addr 10.10.0.1/24"));
    });
}

#[test]
fn an_address_of_ours_on_another_interface_is_named() {
    in_namespace(|| {
        sh("ip address add 10.9.0.2/32 dev lo");
        complains(&up_fails(""), 1, &["10.9.0.2", "lo"]);
    });
}

#[test]
fn an_ipv6_route_that_overlaps_is_found_too() {
    in_namespace(|| {
        sh("ip tuntap add dev other0 mode tun");
        sh("ip link set other0 up");
        sh("ip -6 address add fd09::77/64 dev other0");
        complains(&up_fails(""), 1, &["other0", "fd09::"]);
    });
}
