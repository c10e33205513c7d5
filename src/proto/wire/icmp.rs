//! ICMP (RFC 792, RFC 1122) and ICMPv6 (RFC 4443) messages.
