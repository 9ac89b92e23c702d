"""Stands in for `_ssl`, the native half of the module `ssl`, in an interpreter whose host speaks TLS for it.

The standard `ssl` runs on top unchanged. Nothing is encrypted here: a wrapped stream is marked as https and its bytes go to the host as
they are. The host always verifies certificates and names against its own roots. INVARIANT: what would make a connection safer than the
host's own rules (pinning, own roots, client certificates, TLS 1.3 only) is an error; what would make it less safe has no effect.
"""

import os
import socket
import warnings

_HOST = "the host speaks TLS for the program and verifies certificates with its own roots"

OPENSSL_VERSION = "OpenSSL 3.0.0 (stand-in; TLS is spoken by toolgate's host)"
OPENSSL_VERSION_INFO = _OPENSSL_API_VERSION = (3, 0, 0, 0, 0)
OPENSSL_VERSION_NUMBER = 0x30000000
_DEFAULT_CIPHERS = "DEFAULT"

# The first bytes of a stream over which TLS begins; the server's name and a line end follow. No TLS record begins like this.
MARK = b"\x16toolgate-tls "

HAS_SNI = HAS_ECDH = HAS_ALPN = HAS_TLSv1_2 = HAS_TLSv1_3 = True
HAS_NPN = HAS_SSLv2 = HAS_SSLv3 = HAS_TLSv1 = HAS_TLSv1_1 = HAS_TLS_UNIQUE = HAS_PSK = HAS_PHA = False

CERT_NONE, CERT_OPTIONAL, CERT_REQUIRED = 0, 1, 2
PROTOCOL_TLS = PROTOCOL_SSLv23 = 2
PROTOCOL_TLSv1, PROTOCOL_TLSv1_1, PROTOCOL_TLSv1_2, PROTOCOL_TLS_CLIENT, PROTOCOL_TLS_SERVER = 3, 4, 5, 16, 17
PROTO_MINIMUM_SUPPORTED, PROTO_MAXIMUM_SUPPORTED = -2, -1
PROTO_SSLv3, PROTO_TLSv1, PROTO_TLSv1_1, PROTO_TLSv1_2, PROTO_TLSv1_3 = 768, 769, 770, 771, 772
HOSTFLAG_ALWAYS_CHECK_SUBJECT, HOSTFLAG_NO_WILDCARDS, HOSTFLAG_NO_PARTIAL_WILDCARDS = 1, 2, 4
HOSTFLAG_MULTI_LABEL_WILDCARDS, HOSTFLAG_SINGLE_LABEL_SUBDOMAINS, HOSTFLAG_NEVER_CHECK_SUBJECT = 8, 16, 32
ENCODING_PEM, ENCODING_DER = 1, 2

SSL_ERROR_SSL, SSL_ERROR_WANT_READ, SSL_ERROR_WANT_WRITE, SSL_ERROR_WANT_X509_LOOKUP, SSL_ERROR_SYSCALL = 1, 2, 3, 4, 5
SSL_ERROR_ZERO_RETURN, SSL_ERROR_WANT_CONNECT, SSL_ERROR_EOF, SSL_ERROR_INVALID_ERROR_CODE = 6, 7, 8, 10

VERIFY_DEFAULT, VERIFY_CRL_CHECK_LEAF, VERIFY_CRL_CHECK_CHAIN, VERIFY_X509_STRICT = 0, 4, 12, 32
VERIFY_ALLOW_PROXY_CERTS, VERIFY_X509_TRUSTED_FIRST, VERIFY_X509_PARTIAL_CHAIN = 64, 32768, 524288

OP_NO_SSLv2 = OP_SINGLE_DH_USE = OP_SINGLE_ECDH_USE = 0
OP_LEGACY_SERVER_CONNECT, OP_ENABLE_KTLS, OP_IGNORE_UNEXPECTED_EOF, OP_NO_TICKET, OP_NO_COMPRESSION = 4, 8, 0x80, 0x4000, 0x20000
OP_ENABLE_MIDDLEBOX_COMPAT, OP_CIPHER_SERVER_PREFERENCE, OP_NO_SSLv3 = 0x100000, 0x400000, 0x2000000
OP_NO_TLSv1, OP_NO_TLSv1_2, OP_NO_TLSv1_1, OP_NO_TLSv1_3 = 0x4000000, 0x8000000, 0x10000000, 0x20000000
OP_NO_RENEGOTIATION, OP_ALL = 0x40000000, 0x80000050

ALERT_DESCRIPTION_CLOSE_NOTIFY, ALERT_DESCRIPTION_UNEXPECTED_MESSAGE, ALERT_DESCRIPTION_BAD_RECORD_MAC = 0, 10, 20
ALERT_DESCRIPTION_RECORD_OVERFLOW, ALERT_DESCRIPTION_DECOMPRESSION_FAILURE, ALERT_DESCRIPTION_HANDSHAKE_FAILURE = 22, 30, 40
ALERT_DESCRIPTION_BAD_CERTIFICATE, ALERT_DESCRIPTION_UNSUPPORTED_CERTIFICATE, ALERT_DESCRIPTION_CERTIFICATE_REVOKED = 42, 43, 44
ALERT_DESCRIPTION_CERTIFICATE_EXPIRED, ALERT_DESCRIPTION_CERTIFICATE_UNKNOWN, ALERT_DESCRIPTION_ILLEGAL_PARAMETER = 45, 46, 47
ALERT_DESCRIPTION_UNKNOWN_CA, ALERT_DESCRIPTION_ACCESS_DENIED, ALERT_DESCRIPTION_DECODE_ERROR = 48, 49, 50
ALERT_DESCRIPTION_DECRYPT_ERROR, ALERT_DESCRIPTION_PROTOCOL_VERSION, ALERT_DESCRIPTION_INSUFFICIENT_SECURITY = 51, 70, 71
ALERT_DESCRIPTION_INTERNAL_ERROR, ALERT_DESCRIPTION_USER_CANCELLED, ALERT_DESCRIPTION_NO_RENEGOTIATION = 80, 90, 100
ALERT_DESCRIPTION_UNSUPPORTED_EXTENSION, ALERT_DESCRIPTION_CERTIFICATE_UNOBTAINABLE, ALERT_DESCRIPTION_UNRECOGNIZED_NAME = 110, 111, 112
ALERT_DESCRIPTION_BAD_CERTIFICATE_STATUS_RESPONSE, ALERT_DESCRIPTION_BAD_CERTIFICATE_HASH_VALUE = 113, 114
ALERT_DESCRIPTION_UNKNOWN_PSK_IDENTITY = 115


class SSLError(OSError):
    """An error of TLS."""

    library = reason = None

    def __str__(self):
        return self.strerror if isinstance(self.strerror, str) else super().__str__()


class SSLZeroReturnError(SSLError):
    """The other side has ended TLS."""


class SSLWantReadError(SSLError):
    """More bytes must come first."""


class SSLWantWriteError(SSLError):
    """Bytes must go out first."""


class SSLSyscallError(SSLError):
    """The operating system failed."""


class SSLEOFError(SSLError):
    """The stream has ended too early."""


class SSLCertVerificationError(SSLError, ValueError):
    """A certificate was not accepted."""


def _refuse(what, instead):
    return SSLError(SSL_ERROR_SSL, f"{what} cannot be used in the sandbox: {_HOST}; {instead}")


class SSLSession:
    """Never made: sessions are the host's."""


class Certificate:
    """Never made: certificates are seen by the host only."""


def RAND_bytes(n, /):
    return os.urandom(n)


def RAND_status():
    return True


def RAND_add(string, entropy, /):
    """Does nothing: the host's randomness needs no help."""


def get_default_verify_paths():
    return ("SSL_CERT_FILE", "/etc/ssl/cert.pem", "SSL_CERT_DIR", "/etc/ssl/certs")


_OBJECTS = (
    (129, "serverAuth", "TLS Web Server Authentication", "1.3.6.1.5.5.7.3.1"),
    (130, "clientAuth", "TLS Web Client Authentication", "1.3.6.1.5.5.7.3.2"),
)


def txt2obj(txt, name=False):
    for found in _OBJECTS:
        if txt == found[3] or (name and txt in found[1:3]):
            return found
    raise ValueError(f"unknown object '{txt:.100}'")


def nid2obj(nid, /):
    for found in _OBJECTS:
        if nid == found[0]:
            return found
    raise ValueError(f"unknown NID {nid}")


class MemoryBIO:
    """A buffer between a TLS object and whoever carries its bytes."""

    def __init__(self):
        self._bytes = bytearray()
        self._ended = False

    def read(self, size=-1, /):
        size = len(self._bytes) if size is None or size < 0 else size
        data = bytes(self._bytes[:size])
        del self._bytes[:size]
        return data

    def write(self, data, /):
        if self._ended:
            raise SSLError(SSL_ERROR_SSL, "cannot write() after write_eof()")
        self._bytes += data
        return memoryview(data).nbytes

    def write_eof(self):
        self._ended = True

    @property
    def pending(self):
        return len(self._bytes)

    @property
    def eof(self):
        return self._ended and not self._bytes


class _Session:
    """What `SSLSocket` and `SSLObject` work with. The subclasses carry bytes."""

    session = None
    session_reused = False

    def __init__(self, context, server_side, server_hostname, owner):
        if server_side:
            raise _refuse("the server's side of TLS", "no one can connect to a program here")
        context._check()
        self.context = context
        self.server_side = False
        self.server_hostname = server_hostname
        self.owner = owner

    def getpeercert(self, binary_form=False, /):
        if binary_form:
            raise _refuse("the server's certificate (fingerprints, pinning)", "connect without checking it yourself")
        return None

    def get_verified_chain(self):
        return []

    get_unverified_chain = get_verified_chain

    def selected_alpn_protocol(self):
        return "http/1.1" if b"http/1.1" in self.context._alpn else None

    def get_channel_binding(self, cb_type="tls-unique"):
        return None

    def cipher(self):
        return None

    shared_ciphers = compression = version = cipher

    def verify_client_post_handshake(self):
        raise _refuse("the server's side of TLS", "no one can connect to a program here")

    def read(self, size=1024, buffer=None, /):
        if buffer is None:
            return self._read(size)
        view = memoryview(buffer).cast("B")
        data = self._read(min(size, len(view)) if size and size > 0 else len(view))
        view[: len(data)] = data
        return len(data)


class _OverSocket(_Session):
    def __init__(self, context, sock, *args):
        super().__init__(context, *args)
        self._sock = sock

    # The methods of the plain socket: those of the wrapped one would come back here.
    def do_handshake(self):
        self._sock._begin_tls(self.server_hostname)

    def _read(self, size):
        return socket.socket.recv(self._sock, size)

    def write(self, data, /):
        return socket.socket.send(self._sock, data)

    def pending(self):
        return self._sock._buffered()

    def shutdown(self):
        return self._sock


class _OverMemory(_Session):
    def __init__(self, context, incoming, outgoing, *args):
        super().__init__(context, *args)
        self._incoming, self._outgoing = incoming, outgoing

    def do_handshake(self):
        self._outgoing.write(MARK + (self.server_hostname or "").encode("ascii") + b"\n")

    def _read(self, size):
        data = self._incoming.read(size)
        if not data and size and not self._incoming.eof:
            raise SSLWantReadError(SSL_ERROR_WANT_READ, "no bytes have come yet")
        return data

    def write(self, data, /):
        return self._outgoing.write(data)

    def pending(self):
        return self._incoming.pending

    def shutdown(self):
        return None


def _public_roots(cafile):
    """Whether a file is a collection of the public roots, as certifi's is, rather than roots of someone's own."""
    with open(cafile, "rb") as file:
        return file.read(4 << 20).count(b"-----BEGIN CERTIFICATE-----") >= 50


class _SSLContext:
    """Settings of a connection. They are kept; those that would matter and cannot be kept are refused."""

    sni_callback = keylog_filename = None
    post_handshake_auth = False
    num_tickets = 2
    security_level = 2
    _alpn = ()

    def __new__(cls, protocol, /):
        self = super().__new__(cls)
        self._protocol = protocol
        self._client = protocol == PROTOCOL_TLS_CLIENT
        self._verify = CERT_REQUIRED if self._client else CERT_NONE
        self._names = self._client
        self._minimum, self._maximum = PROTO_TLSv1_2, PROTO_MAXIMUM_SUPPORTED
        self._options = OP_ALL | OP_NO_SSLv3 | OP_NO_COMPRESSION | OP_CIPHER_SERVER_PREFERENCE
        self._flags = VERIFY_X509_TRUSTED_FIRST
        self._host_flags = HOSTFLAG_NO_PARTIAL_WILDCARDS
        return self

    def __init__(self, *args, **kwargs):
        pass

    protocol = property(lambda self: self._protocol)
    options = property(lambda self: self._options, lambda self, value: setattr(self, "_options", int(value)))
    verify_flags = property(lambda self: self._flags, lambda self, value: setattr(self, "_flags", int(value)))
    minimum_version = property(lambda self: self._minimum, lambda self, value: setattr(self, "_minimum", int(value)))
    # Nothing is ever told: the messages of TLS are the host's.
    _msg_callback = property(lambda self: None, lambda self, value: None)
    maximum_version = property(lambda self: self._maximum, lambda self, value: setattr(self, "_maximum", int(value)))

    @property
    def verify_mode(self):
        return self._verify

    @verify_mode.setter
    def verify_mode(self, value):
        if value not in (CERT_NONE, CERT_OPTIONAL, CERT_REQUIRED):
            raise ValueError("invalid value for verify_mode")
        if value == CERT_NONE and self._names:
            raise ValueError("Cannot set verify_mode to CERT_NONE when check_hostname is enabled.")
        self._verify = int(value)

    @property
    def check_hostname(self):
        return self._names

    @check_hostname.setter
    def check_hostname(self, value):
        self._names = bool(value)
        if self._names and self._verify == CERT_NONE:
            self._verify = CERT_REQUIRED

    def _check(self):
        """Before a connection: whether what was asked for can be had."""
        if self._minimum >= PROTO_TLSv1_3 or self._options & OP_NO_TLSv1_2:
            raise _refuse("TLS 1.3 as the lowest version", "leave the lowest version at TLS 1.2")
        old = self._maximum < PROTO_TLSv1_2 and self._maximum != PROTO_MAXIMUM_SUPPORTED
        if old or self._protocol in (PROTOCOL_TLSv1, PROTOCOL_TLSv1_1):
            raise _refuse("TLS before 1.2", "allow TLS 1.2 and later")
        if self._alpn and b"http/1.1" not in self._alpn:
            raise _refuse("a protocol other than http/1.1 (ALPN)", "offer http/1.1")
        if self._verify == CERT_NONE and self._protocol != PROTOCOL_TLS_SERVER:
            text = f"certificates are verified although the program asks not to: {_HOST}"
            warnings.warn(text, RuntimeWarning, skip_file_prefixes=(__file__, os.path.dirname(os.__file__)))

    def load_cert_chain(self, certfile, keyfile=None, password=None):
        raise _refuse("a client certificate", "leave it out, or ask the operator for another way in")

    def load_verify_locations(self, cafile=None, capath=None, cadata=None):
        if cafile is None and capath is None and cadata is None:
            raise TypeError("cafile, capath and cadata cannot be all omitted")
        if capath is not None or cadata is not None or not _public_roots(cafile):
            raise _refuse("certificate authorities of the program's own", "leave them out; the operator can add roots to the settings")

    def set_default_verify_paths(self):
        """The host's roots are what is used anyway."""

    def cert_store_stats(self):
        return {"x509": 0, "crl": 0, "x509_ca": 0}

    def get_ca_certs(self, binary_form=False):
        return []

    def get_ciphers(self):
        return []

    def session_stats(self):
        names = "number connect connect_good connect_renegotiate accept accept_good accept_renegotiate hits misses timeouts cache_full"
        return dict.fromkeys(names.split(), 0)

    def set_ciphers(self, cipherlist, /):
        """The host uses only ciphers without known weakness."""

    def set_ecdh_curve(self, name, /):
        """As for ciphers."""

    def load_dh_params(self, path, /):
        """Of servers only."""

    def set_psk_client_callback(self, callback):
        if callback is not None:
            raise _refuse("a pre-shared key", "leave it out")

    def _set_alpn_protocols(self, protocols, /):
        rest, names = bytes(protocols), []
        while rest:
            names.append(rest[1 : 1 + rest[0]])
            rest = rest[1 + rest[0] :]
        self._alpn = tuple(names)

    def _wrap_socket(self, sock, server_side, server_hostname=None, *, owner=None, session=None):
        return _OverSocket(self, sock, server_side, server_hostname, owner)

    def _wrap_bio(self, incoming, outgoing, server_side, server_hostname=None, *, owner=None, session=None):
        return _OverMemory(self, incoming, outgoing, server_side, server_hostname, owner)
