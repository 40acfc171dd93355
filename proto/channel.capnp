# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
#
# Control messages between offrampd and a process that lives on its TCP (src/channel). Hello, its answers,
# Join and Icmp cross the door's socket, the others the lanes. Calls have a number that their answer repeats.
# src/channel/message.c encodes and decodes this by hand; the capnp tool checks it in the tests.

@0xd1b6c4a0f3e58e27;

struct Endpoint {
  address @0 :Data;      # 4 or 16 octets; all zero: every address
  port @1 :UInt16;
}

struct Hello {           # a process that wants to attach
  version @0 :UInt16;
  pid @1 :UInt32;
  name @2 :Text;         # of the program, for listings
  secret @3 :Data;       # where the daemon asks for one
}

struct Prefix {
  address @0 :Data;      # 4 or 16 octets
  length @1 :UInt8;      # so many bits of it count
}

struct Welcome {         # and what it is given: a memory with one region a lane
  version @0 :UInt16;
  lanes @1 :UInt16;
  epoch @2 :UInt64;      # of the daemon's run
  laneBytes @3 :UInt64;
  listens @4 :List(Endpoint);  # what is to be listened on here
  icmp @5 :Bool;         # ICMP sockets are served
  ticket @6 :Data;       # over a stream: no memory, but a connection for each lane, which shows this
  slots @7 :UInt32;      # and what such a lane has room for
  chunks @8 :UInt32;
  silenceMs @9 :UInt32;  # who says nothing for so long is gone
  connects @10 :List(Prefix);  # where connections to are made here
  udp @11 :Bool;         # UDP sockets are served
}

struct Refused {
  reason @0 :Text;
}

struct Listen {          # answered with Done
  listener @0 :UInt32;   # the process's own number
  endpoint @1 :Endpoint;
  backlog @2 :UInt32;
  ipv6Only @4 :Bool;     # the unspecified address does not take IPv4
  accepts @3 :Bool;      # it looks for connections; again with another value when that changes
}

struct Unlisten {        # connections that wait to be accepted are reset; not answered
  listener @0 :UInt32;
}

struct Option {          # of a connection; not answered
  slot @0 :UInt32;
  option @1 :Kind;
  value @2 :Int32;

  enum Kind {
    noDelay @0;
    keepAlive @1;        # on, off
    keepIdle @2;         # seconds
    keepInterval @3;     # seconds
    keepCount @4;
    linger @5;           # seconds; -1: off
  }
}

struct Info {            # of a connection; answered with InfoIs
  slot @0 :UInt32;
}

struct InfoIs {
  state @0 :UInt8;       # as Linux numbers them in struct tcp_info
  mss @1 :UInt32;
  cwnd @2 :UInt32;       # octets
  rttUs @3 :UInt32;
  rttVarUs @4 :UInt32;
  retransmits @5 :UInt32;
  unacked @6 :UInt64;    # octets sent, and not acknowledged
}

struct Done {
  error @0 :UInt16;      # errno of the process's system; 0: none
}

struct Join {            # begins a connection that is a lane; when all are there: Done on the first one
  ticket @0 :Data;
  lane @1 :UInt16;
}

struct Icmp {            # with an ICMP socket of the kernel's beside it: who could open one may have
                         # one here; a slot that names it begins; answered with Done, in lane 0
  socket @0 :UInt32;     # the process's own number
}

struct Udp {             # a UDP socket; a slot that names it begins; answered with Done, in lane 0. Again: it has
                         # another remote end
  socket @0 :UInt32;     # the process's own number
  local @1 :Endpoint;    # address 0: every one of ours
  remote @2 :Endpoint;   # port 0: it is not connected
  cookie @3 :UInt64;     # equal ones: one socket that several processes have
  ipv6Only @4 :Bool;     # the unspecified address does not take IPv4
  reuses @5 :Bool;       # SO_REUSEADDR
  shares @6 :Bool;       # SO_REUSEPORT
  ephemeral @7 :Bool;    # another port will do: the slot says which
}

struct Route {           # answered with RouteIs
  remote @0 :Endpoint;
}

struct RouteIs {         # to an address
  error @0 :UInt16;      # errno: there is none
  local @1 :Endpoint;    # of the daemon's addresses, the one that speaks to it
  own @2 :Bool;          # the address is one of the daemon's
  general @3 :Bool;      # nothing but the default route leads there
  mtu @4 :UInt16;
  longest @5 :UInt32;    # octets of an ICMP message that can be answered
}

struct Connect {         # from a lane that the connection is to be in; a slot that names the socket begins, and
                         # is told when the connection stands; answered with Done: EXDEV for another lane's port,
                         # ENXIO where it is the kernel's, for an address from or to which none is made here
  socket @0 :UInt32;     # the process's own number
  local @1 :Endpoint;    # address 0: the one that the way suggests; port 0: an ephemeral one
  remote @2 :Endpoint;
  attempts @3 :UInt8;    # SYNs that are sent again; 0: as the daemon does
}

struct Message {
  call @0 :UInt32;
  union {
    hello @1 :Hello;
    welcome @2 :Welcome;
    refused @3 :Refused;
    listen @4 :Listen;
    unlisten @5 :Unlisten;
    option @6 :Option;
    info @7 :Info;
    infoIs @8 :InfoIs;
    done @9 :Done;
    join @10 :Join;
    icmp @11 :Icmp;
    route @12 :Route;
    routeIs @13 :RouteIs;
    connect @14 :Connect;
    udp @15 :Udp;
  }
}
