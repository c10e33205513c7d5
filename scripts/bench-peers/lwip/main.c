// lwIP (raw API, one thread) behind a TUN device: TCP 7 echo, 9 discard, 19 source; UDP 7 echo.
//   lwip-peer TUN [-o]
// -o: on a device with the kernel's offloads, whose checksums it doesn't look at. It knows nothing of super-segments, so that bulk goes wrong.
#include "../c/tun.h"
#include "lwip/init.h"
#include "lwip/ip.h"
#include "lwip/netif.h"
#include "lwip/tcp.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/timeouts.h"
#include "lwip/udp.h"
#include <poll.h>
#include <time.h>

static int tun;
static int headroom;  // before each packet, where the device has a struct vnet there
static char zeros[64 << 10];

u32_t sys_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000u + t.tv_nsec / 1000000;
}

static err_t output(struct netif *n, struct pbuf *p, const ip4_addr_t *to) {
  (void)n, (void)to;
  char copy[2048];
  void *data = p->payload;
  if (headroom || p->len != p->tot_len) {
    data = memset(copy, 0, headroom);  // whole packets with all their checksums
    pbuf_copy_partial(p, copy + headroom, sizeof copy - headroom, 0);
  }
  return write(tun, data, headroom + p->tot_len) < 0 ? ERR_IF : ERR_OK;
}
static err_t netif_setup(struct netif *n) {
  n->name[0] = 't', n->name[1] = 'n';
  n->mtu = 1500;
  n->output = output;
  return ERR_OK;
}

// ---- services: the argument of each connection is its port ------------------
static void pump_source(struct tcp_pcb *pcb) {
  int sent = 0;
  for (;;) {
    u16_t n = LWIP_MIN(pcb->snd_buf, 44 * 1460);  // tcp_sndbuf() is capped at 64 KiB
    if (n < 1460 || tcp_write(pcb, zeros, n, TCP_WRITE_FLAG_COPY) != ERR_OK) break;
    sent = 1;
  }
  if (sent) tcp_output(pcb);
}
static err_t on_sent(void *arg, struct tcp_pcb *pcb, u16_t n) {
  (void)n;
  if ((intptr_t)arg == 19 && pcb->snd_buf >= 44 * 1460) pump_source(pcb);
  return ERR_OK;
}
static err_t on_recv(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err) {
  (void)err;
  if (!p) {
    tcp_arg(pcb, 0);
    if (tcp_close(pcb) != ERR_OK) return tcp_abort(pcb), ERR_ABRT;
    return ERR_OK;
  }
  tcp_recved(pcb, p->tot_len);
  if ((intptr_t)arg == 7) {
    for (struct pbuf *q = p; q; q = q->next) tcp_write(pcb, q->payload, q->len, TCP_WRITE_FLAG_COPY);
    tcp_output(pcb);
  }
  pbuf_free(p);
  return ERR_OK;
}
static err_t on_accept(void *arg, struct tcp_pcb *pcb, err_t err) {
  if (err != ERR_OK || !pcb) return ERR_VAL;
  tcp_nagle_disable(pcb);
  tcp_arg(pcb, arg);
  tcp_recv(pcb, on_recv);
  tcp_sent(pcb, on_sent);
  if ((intptr_t)arg == 19) pump_source(pcb);
  return ERR_OK;
}
static void on_udp(void *arg, struct udp_pcb *u, struct pbuf *p, const ip_addr_t *from, u16_t port) {
  (void)arg;
  udp_sendto(u, p, from, port);
  pbuf_free(p);
}

int main(int argc, char **argv) {
  int offload = argc == 3 && !strcmp(argv[2], "-o");
  if (argc != 2 + offload) return fprintf(stderr, "usage: lwip-peer TUN [-o]\n"), 2;
  tun = tun_open(argv[1], offload);
  headroom = offload ? VNET_HEADER : 0;
  lwip_init();
  struct netif nif;
  ip4_addr_t ip, mask, gw;
  IP4_ADDR(&ip, 10, 9, 0, 2);
  IP4_ADDR(&mask, 255, 255, 255, 0);
  IP4_ADDR(&gw, 10, 9, 0, 1);
  netif_add(&nif, &ip, &mask, &gw, 0, netif_setup, ip_input);
  if (offload) NETIF_SET_CHECKSUM_CTRL(&nif, NETIF_CHECKSUM_ENABLE_ALL & ~(NETIF_CHECKSUM_CHECK_TCP | NETIF_CHECKSUM_CHECK_UDP));
  netif_set_default(&nif);
  netif_set_up(&nif);
  netif_set_link_up(&nif);
  static const int ports[] = {7, 9, 19};
  for (int i = 0; i < 3; i++) {
    struct tcp_pcb *l = tcp_new();
    tcp_bind(l, IP_ANY_TYPE, ports[i]);
    l = tcp_listen_with_backlog(l, 255);
    tcp_arg(l, (void *)(intptr_t)ports[i]);
    tcp_accept(l, on_accept);
  }
  struct udp_pcb *u = udp_new();
  udp_bind(u, IP_ANY_TYPE, 7);
  udp_recv(u, on_udp, 0);

  for (;;) {
    int k;
    for (k = 0; k < 64; k++) {
      struct pbuf *p = pbuf_alloc(PBUF_RAW, headroom + 1500, PBUF_RAM);
      ssize_t n = read(tun, p->payload, headroom + 1500);
      if (n <= headroom) { pbuf_free(p); break; }
      pbuf_realloc(p, n);
      pbuf_remove_header(p, headroom);
      if (nif.input(p, &nif) != ERR_OK) pbuf_free(p);
    }
    sys_check_timeouts();
    if (k == 0) {
      struct pollfd f = {tun, POLLIN, 0};
      u32_t t = sys_timeouts_sleeptime();
      poll(&f, 1, t > 100 ? 100 : (int)t);
    }
  }
}
