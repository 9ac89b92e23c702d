"""The network, by family and by way. Arguments: port of a TCP listener of the host on 127.0.0.1 and ::1, path and abstract name of its
UNIX listeners, and further addresses of the host (`-` for none). Nothing is sent to a stranger: outside, the addresses are those kept for
documentation, and whether there is a way to a public one is asked of the kernel only.
"""

import os
import socket
import struct
import sys

from _probe import allow, attempt, finish, must

port = int(sys.argv[1])
path, name, *addresses = sys.argv[2:]
FAMILIES = {
    3: "AX25", 4: "IPX", 5: "APPLETALK", 6: "NETROM", 8: "ATMPVC", 9: "X25", 11: "ROSE", 15: "KEY", 16: "NETLINK", 17: "PACKET", 18: "ASH",
    19: "ECONET", 20: "ATMSVC", 21: "RDS", 22: "SNA", 23: "IRDA", 24: "PPPOX", 25: "WANPIPE", 26: "LLC", 27: "IB", 28: "MPLS", 29: "CAN",
    30: "TIPC", 31: "BLUETOOTH", 32: "IUCV", 33: "RXRPC", 34: "ISDN", 35: "PHONET", 36: "IEEE802154", 37: "CAIF", 38: "ALG", 39: "NFC",
    40: "VSOCK", 41: "KCM", 42: "QIPCRTR", 43: "SMC", 44: "XDP", 45: "MCTP",
}  # fmt: skip
TYPES = {"stream": 1, "datagram": 2, "raw": 3, "reliable": 4, "packets": 5}
NETLINKS = {"route": 0, "usersock": 2, "sock_diag": 4, "nflog": 5, "xfrm": 6, "selinux": 7, "audit": 9, "netfilter": 12}
NETLINKS |= {"connector": 11, "kobject": 15, "generic": 16, "crypto": 21}
PUBLIC = {"IPv4": ("1.1.1.1", "8.8.8.8", "192.0.2.1", "169.254.169.254", "10.0.0.1"), "IPv6": ("2606:4700:4700::1111", "2001:db8::1")}
DAEMONS = "/run/dbus/system_bus_socket /var/run/docker.sock /run/containerd/containerd.sock /run/systemd/private /var/run/nscd/socket"
DAEMONS += " /run/systemd/resolve/io.systemd.Resolve /run/systemd/journal/socket /dev/log /run/udev/control /tmp/.X11-unix/X0"
NAMES = "example.com localhost.localdomain canary.invalid.example.net".split()


def any_type(family, protocol=0):
    """A socket of the family, of whichever type there is."""
    for what, kind in TYPES.items():
        try:
            socket.socket(family, kind, protocol).close()
            return f"a socket: {what}"
        except OSError as error:
            last = error
    raise last


def made(family, kind, protocol):
    socket.socket(family, kind, protocol).close()
    return "a socket"


def pair(family):
    for kind in TYPES.values():
        try:
            socket.socketpair(family, kind)
            return "a pair"
        except OSError as error:
            last = error
    raise last


def connected(family, kind, protocol, place):
    with socket.socket(family, kind, protocol) as made_socket:
        made_socket.settimeout(3)
        made_socket.connect(place)
    return f"connected to {place}"


def greeted(family, place):
    """Connected to whoever listens there."""
    with socket.socket(family, socket.SOCK_STREAM) as made_socket:
        made_socket.settimeout(3)
        made_socket.connect(place)
        return f"connected to {place}"


def fast_open(place):
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as made_socket:
        made_socket.sendto(b"x", 0x20000000, place)  # MSG_FASTOPEN connects without connect
    return "sent"


def way(family, address):
    """Whether the kernel knows a way there. This sends nothing."""
    with socket.socket(family, socket.SOCK_DGRAM) as made_socket:
        made_socket.connect((address, 53))
        return f"by way of {made_socket.getsockname()[0]}"


def sent(family, address, kind=socket.SOCK_DGRAM):
    with socket.socket(family, kind) as made_socket:
        made_socket.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        return f"{made_socket.sendto(b'x', (address, 9))} bytes left"


def attempted(family, address):
    """A TCP connection that is begun to be made: anything but an unreachable network says that packets left."""
    with socket.socket(family, socket.SOCK_STREAM) as made_socket:
        made_socket.settimeout(0.5)
        try:
            made_socket.connect((address, 9))
        except (TimeoutError, ConnectionError) as error:
            return f"packets left: {error}"
    return "connected"


def resolved(host):
    return must(socket.getaddrinfo(host, 80), "no address")[0][4]


def servers():
    found = []
    with open("/etc/resolv.conf") as file:
        found = [line.split()[1] for line in file if line.startswith("nameserver")]
    return must(found, "no name server is named")


def asked(server):
    """A question in the clear, to whoever answers."""
    query = struct.pack(">6H", 7, 256, 1, 0, 0, 0) + b"\7example\3com\0" + struct.pack(">2H", 1, 1)
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as made_socket:
        made_socket.settimeout(2)
        made_socket.connect((server, 53))
        made_socket.send(query)
        return f"an answer of {len(made_socket.recv(512))} bytes"


def interfaces():
    with open("/proc/self/net/dev") as file:
        names = [line.split(":")[0].strip() for line in file if ":" in line]
    return must([name for name in names if name != "lo"], "only lo")


def routes():
    with open("/proc/self/net/route") as file:
        return must(len(file.readlines()) > 1 and "there are routes", "none")


def neighbours():
    """Sockets of others as the kernel lists them."""
    count = 0
    for table in ("tcp", "tcp6", "udp", "udp6", "unix", "packet"):
        with open(f"/proc/self/net/{table}") as file:
            count += len(file.readlines()) - 1
    return must(count and f"{count} sockets", "none")


def marked(level, option, value):
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as made_socket:
        made_socket.setsockopt(level, option, value)
    return "set"


def low_port():
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as made_socket:
        made_socket.bind(("0.0.0.0", 81))
    return "bound"


def server(family, address):
    with socket.create_server((address, 0), family=family) as listener:
        with socket.create_connection(listener.getsockname()[:2], 3):
            return f"served on {address}"


def served_unix():
    place = f"probe-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as guest:
        listener.bind(place)
        listener.listen()
        guest.connect(place)
    os.unlink(place)
    return "served"


for number, family in FAMILIES.items():
    attempt(f"family {family}", any_type, number)
    attempt(f"pair of {family}", pair, number)
for what, protocol in NETLINKS.items():
    attempt(f"netlink {what}", made, 16, socket.SOCK_RAW, protocol)
for family in (socket.AF_INET, socket.AF_INET6):
    for what, kind, protocol in [
        ("raw ICMP", socket.SOCK_RAW, 1 if family == socket.AF_INET else 58), ("raw UDP", socket.SOCK_RAW, 17),
        ("raw IP", socket.SOCK_RAW, 255), ("ping", socket.SOCK_DGRAM, 1 if family == socket.AF_INET else 58),
        ("SCTP", socket.SOCK_STREAM, 132), ("SCTP packets", socket.SOCK_SEQPACKET, 132), ("DCCP", 6, 33),
        ("L2TP", socket.SOCK_DGRAM, 115), ("SMC", socket.SOCK_STREAM, 256), ("old packet", 10, 0x300),
    ]:  # fmt: skip
        attempt(f"{family.name} {what}", made, family, kind, protocol)
attempt("IPv4 listener of the host", greeted, socket.AF_INET, ("127.0.0.1", port))
attempt("IPv4 listener by 0.0.0.0", greeted, socket.AF_INET, ("0.0.0.0", port))
attempt("IPv6 listener of the host", greeted, socket.AF_INET6, ("::1", port))
attempt("IPv4 in IPv6 listener", greeted, socket.AF_INET6, ("::ffff:127.0.0.1", port))
attempt("MPTCP to the listener", connected, socket.AF_INET, socket.SOCK_STREAM, 262, ("127.0.0.1", port))
attempt("fast open to the listener", fast_open, ("127.0.0.1", port))
for address in addresses:
    attempt(f"listener at {address}", greeted, socket.AF_INET6 if ":" in address else socket.AF_INET, (address, port))
attempt("UNIX listener by path", greeted, socket.AF_UNIX, path)
attempt("UNIX listener by /proc/1/root", greeted, socket.AF_UNIX, "/proc/1/root" + path)
attempt("UNIX listener by abstract name", greeted, socket.AF_UNIX, b"\0" + name.encode())
for daemon in DAEMONS.split():
    attempt(f"daemon {daemon}", greeted, socket.AF_UNIX, daemon)
for family, group in ((socket.AF_INET, PUBLIC["IPv4"]), (socket.AF_INET6, PUBLIC["IPv6"])):
    for address in group:
        attempt(f"way to {address}", way, family, address)
attempt("TCP to 192.0.2.1", attempted, socket.AF_INET, "192.0.2.1")
attempt("TCP to 2001:db8::1", attempted, socket.AF_INET6, "2001:db8::1")
attempt("UDP to 192.0.2.1", sent, socket.AF_INET, "192.0.2.1")
attempt("UDP to 2001:db8::1", sent, socket.AF_INET6, "2001:db8::1")
for host in NAMES:
    attempt(f"name {host}", resolved, host)
attempt("name servers", servers)
for address in ("127.0.0.53", "127.0.0.1", "::1"):
    attempt(f"DNS of {address}", asked, address)
attempt("interfaces", interfaces)
attempt("routes", routes)
attempt("sockets of others", neighbours)
attempt("SO_MARK", marked, socket.SOL_SOCKET, 36, 7)
attempt("SO_BINDTODEVICE", marked, socket.SOL_SOCKET, 25, b"eth0")
attempt("IP_TRANSPARENT", marked, socket.SOL_IP, 19, 1)
attempt("port below 1024", low_port)
allow("server on 127.0.0.1", server, socket.AF_INET, "127.0.0.1")
allow("server on ::1", server, socket.AF_INET6, "::1")
allow("server on a path", served_unix)
allow("UNIX pair", pair, socket.AF_UNIX)
finish()
