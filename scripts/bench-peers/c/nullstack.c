// No TCP stack, but a bound for all of them: the least work that keeps a client of the kernel's content, as long as nothing is
// lost, over a TUN device with IFF_VNET_HDR. Sends nothing again, puts nothing in order, has no timers, no congestion control,
// no checks, and no application that copies. TCP 7 echo, 9 discard, 19 source; UDP 7 echo.
//   nullstack TUN [-c | -p]     -c: copies the payload of super-segments once, as a socket's buffer would
//                               -p: a plain device without header and offload: a packet an MSS, checksums summed
#include "tun.h"
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sys/uio.h>

struct conn { uint32_t snd_nxt, snd_una, rcv_nxt, wnd; uint8_t up, wscale, ack; uint32_t peer; uint16_t port; };
enum { MSS = 1460, SUPER = 44 * MSS, WSCALE = 7, BATCH = 64 };
static struct conn conns[1 << 20];  // by client port and low address bits
static int tun, copying, plain;
static char zeros[SUPER], store[SUPER + 4096];
static const uint32_t LOCAL = 0x0a090002;

static uint32_t sum(const void *p, int n) {
  const uint16_t *w = p;
  uint32_t s = 0;
  for (; n > 0; n -= 2) s += *w++;
  return s;
}
static uint16_t fold(uint32_t s) {
  while (s >> 16) s = (s & 0xffff) + (s >> 16);
  return s;
}
static uint16_t sum_payload(const uint8_t *p, int n) {  // in 32-bit words, so that the compiler vectorises it
  uint64_t s = 0;
  for (; n >= 4; n -= 4, p += 4) s += *(const uint32_t *)p;
  if (n >= 2) s += *(const uint16_t *)p, n -= 2, p += 2;
  if (n) s += *p;
  s = (s & 0xffffffff) + (s >> 32);
  return fold((s & 0xffff) + (s >> 16 & 0xffff) + (s >> 32));
}
static void emit(struct conn *c, uint16_t cport, uint8_t flags, const void *data, int len) {
  for (; plain && len > MSS; data = (char *)data + MSS, len -= MSS) emit(c, cport, flags, data, MSS);
  struct { struct vnet v; struct iphdr ip; struct tcphdr t; uint8_t opt[8]; } __attribute__((packed)) h;
  memset(&h, 0, sizeof h);
  int thl = flags & TH_SYN ? 28 : 20;
  h.ip.version = 4, h.ip.ihl = 5, h.ip.ttl = 64, h.ip.protocol = IPPROTO_TCP;
  h.ip.frag_off = htons(0x4000), h.ip.tot_len = htons(20 + thl + len);
  h.ip.saddr = htonl(LOCAL), h.ip.daddr = c->peer;
  h.ip.check = ~fold(sum(&h.ip, 20));
  h.t.source = htons(c->port), h.t.dest = cport, h.t.seq = htonl(c->snd_nxt), h.t.ack_seq = htonl(c->rcv_nxt);
  h.t.doff = thl / 4, h.t.th_flags = flags, h.t.window = htons(flags & TH_SYN ? 65535 : 0x7fff);
  if (flags & TH_SYN) memcpy(h.opt, (uint8_t[]){2, 4, MSS >> 8, MSS & 255, 1, 3, 3, WSCALE}, 8);
  uint32_t pseudo = sum(&h.ip.saddr, 8) + htons(IPPROTO_TCP) + htons(thl + len);
  h.t.check = plain ? ~fold(pseudo + sum(&h.t, thl) + sum_payload(data, len)) : fold(pseudo);
  h.v.flags = 1, h.v.hdr_len = 20 + thl, h.v.csum_start = 20, h.v.csum_off = 16;
  if (len > MSS) h.v.gso = 1, h.v.gso_size = MSS;
  if (copying && len > 4096) memcpy(store, data, len), data = store;
  struct iovec iov[2] = {{plain ? (void *)&h.ip : &h, (plain ? 0 : VNET_HEADER) + 20 + thl}, {(void *)data, len}};
  if (writev(tun, iov, len ? 2 : 1) < 0) perror("tun write");
  c->snd_nxt += len + !!(flags & (TH_SYN | TH_FIN));
  c->ack = 0;
}
static void source(struct conn *c, uint16_t cport) {
  while (c->up && c->snd_nxt - c->snd_una + SUPER <= c->wnd) emit(c, cport, TH_ACK, zeros, SUPER);
}
static struct conn *input(uint8_t *b, int n, uint16_t *cport) {
  struct iphdr *ip = (void *)(b + VNET_HEADER);
  if (n < VNET_HEADER + 28 || ip->version != 4 || ip->daddr != htonl(LOCAL)) return 0;
  if (ip->protocol == IPPROTO_UDP) {
    struct udphdr *u = (void *)(ip + 1);
    if (u->uh_dport != htons(7)) return 0;
    uint32_t a = ip->saddr;
    uint16_t p = u->uh_sport;
    ip->saddr = ip->daddr, ip->daddr = a, u->uh_sport = u->uh_dport, u->uh_dport = p;  // sums stay valid
    if (write(tun, plain ? b + VNET_HEADER : b, plain ? n - VNET_HEADER : n) < 0) perror("tun write");
    return 0;
  }
  if (ip->protocol != IPPROTO_TCP) return 0;
  struct tcphdr *t = (void *)(ip + 1);
  struct conn *c = &conns[(ntohl(ip->saddr) & 15) << 16 | ntohs(t->source)];
  uint8_t *data = (uint8_t *)t + t->doff * 4;
  int len = ntohs(ip->tot_len) - 20 - t->doff * 4;
  *cport = t->source;
  if (t->rst) return c->up = 0, NULL;
  if (t->syn) {
    *c = (struct conn){.snd_nxt = 1000, .snd_una = 1000, .rcv_nxt = ntohl(t->seq) + 1, .peer = ip->saddr, .port = ntohs(t->dest)};
    for (uint8_t *o = (uint8_t *)(t + 1); o < data && *o; o += *o == 1 ? 1 : o[1])
      if (*o == 3) c->wscale = o[2];
    emit(c, *cport, TH_SYN | TH_ACK, 0, 0);
    return 0;
  }
  c->up = 1;
  c->snd_una = ntohl(t->ack_seq);
  c->wnd = (uint32_t)ntohs(t->window) << c->wscale;
  if (c->port == 19) source(c, *cport);
  if (ntohl(t->seq) != c->rcv_nxt) return c->ack = 1, c;
  c->rcv_nxt += len + t->fin;
  if (copying && len > 4096) memcpy(store, data, len);
  if (t->fin) emit(c, *cport, TH_FIN | TH_ACK, 0, 0), c->up = 0;
  else if (len && c->port == 7) emit(c, *cport, TH_ACK | TH_PUSH, data, len);
  else if (len) c->ack = 1;
  return c->ack ? c : 0;
}
int main(int argc, char **argv) {
  if (argc < 2) return 2;
  copying = argc > 2 && !strcmp(argv[2], "-c");
  plain = argc > 2 && !strcmp(argv[2], "-p");
  tun = tun_open(argv[1], !plain);
  static uint8_t b[VNET_HEADER + 65536 + 64];
  for (;;) {
    struct conn *todo[BATCH];
    uint16_t ports[BATCH];
    int n, k = 0, m = 0;
    for (; k < BATCH && (n = read(tun, plain ? b + VNET_HEADER : b, sizeof b - VNET_HEADER)) > 0; k++)
      if ((todo[m] = input(b, plain ? n + VNET_HEADER : n, &ports[m]))) m++;
    for (int i = 0; i < m; i++)
      if (todo[i]->ack) emit(todo[i], ports[i], TH_ACK, 0, 0);  // one ACK per connection and batch
    if (!k) poll(&(struct pollfd){tun, POLLIN, 0}, 1, -1);
  }
}
