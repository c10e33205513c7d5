// Opening a TUN device, for nullstack.c and the lwIP peer.
#pragma once
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

// A virtio_net_hdr, which stands before each packet on a device with offloads.
struct vnet { uint8_t flags, gso; uint16_t hdr_len, gso_size, csum_start, csum_off; };
enum { VNET_HEADER = sizeof(struct vnet) };

// vnet: 0 = plain IP packets, 1 = a struct vnet before each + checksum/TSO/USO offloads.
static int tun_open(const char *name, int vnet) {
  int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
  struct ifreq ifr = {0};
  strncpy(ifr.ifr_name, name, IFNAMSIZ - 1);
  ifr.ifr_flags = IFF_TUN | IFF_NO_PI | (vnet ? IFF_VNET_HDR : 0);
  if (fd < 0 || ioctl(fd, TUNSETIFF, &ifr) < 0) perror(name), exit(1);
  if (vnet) {
    int sz = VNET_HEADER, le = 1;
    if (ioctl(fd, TUNSETVNETHDRSZ, &sz) < 0) perror("TUNSETVNETHDRSZ"), exit(1);
    ioctl(fd, TUNSETVNETLE, &le);
    unsigned off = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_USO4 | TUN_F_USO6;
    if (ioctl(fd, TUNSETOFFLOAD, off) < 0) {
      off &= ~(TUN_F_USO4 | TUN_F_USO6);  // kernels before 6.2
      if (ioctl(fd, TUNSETOFFLOAD, off) < 0) perror("TUNSETOFFLOAD"), exit(1);
    }
  } else
    ioctl(fd, TUNSETOFFLOAD, 0);  // a device keeps the offloads of who held it before
  return fd;
}
