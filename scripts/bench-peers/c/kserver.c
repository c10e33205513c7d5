// The kernel in the place of a stack: TCP 7 echo, 9 discard, 19 source; UDP 7 echo.
// One thread with an epoll, level triggered.
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "files.h"

enum { LISTEN = 1, CONN = 2, UDP = 3 };
#define TAG(kind, port, fd) ((uint64_t)(kind) << 48 | (uint64_t)(port) << 32 | (uint32_t)(fd))
static char buf[256 << 10];

int main(void) {
  many_files();
  int ep = epoll_create1(0), one = 1, ports[] = {7, 9, 19};
  for (int i = 0; i < 4; i++) {
    int udp = i == 3, port = udp ? 7 : ports[i];
    int fd = socket(AF_INET, (udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_NONBLOCK, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (!udp && setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5)) perror("cubic");
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    if (bind(fd, (void *)&a, sizeof a)) return perror("bind"), 1;
    if (!udp && listen(fd, 4096)) return perror("listen"), 1;
    struct epoll_event e = {.events = EPOLLIN, .data.u64 = TAG(udp ? UDP : LISTEN, port, fd)};
    epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
  }
  for (;;) {
    struct epoll_event ev[256];
    int n = epoll_wait(ep, ev, 256, -1);
    for (int i = 0; i < n; i++) {
      int kind = ev[i].data.u64 >> 48, port = ev[i].data.u64 >> 32 & 0xffff, fd = (int)(uint32_t)ev[i].data.u64;
      if (kind == LISTEN) {
        int c;
        while ((c = accept4(fd, 0, 0, SOCK_NONBLOCK)) >= 0) {
          setsockopt(c, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
          struct epoll_event e = {.events = port == 19 ? EPOLLOUT : EPOLLIN, .data.u64 = TAG(CONN, port, c)};
          epoll_ctl(ep, EPOLL_CTL_ADD, c, &e);
        }
      } else if (kind == UDP) {
        struct sockaddr_in a;
        socklen_t l = sizeof a;
        ssize_t k;
        while ((k = recvfrom(fd, buf, sizeof buf, 0, (void *)&a, &l)) >= 0) sendto(fd, buf, k, 0, (void *)&a, l);
      } else if (port == 19) {
        if (send(fd, buf, sizeof buf, MSG_NOSIGNAL) < 0 && errno != EAGAIN) close(fd);
      } else {
        ssize_t k = recv(fd, buf, port == 7 ? 16384 : sizeof buf, 0);
        if (k <= 0) {
          if (k == 0 || errno != EAGAIN) close(fd);
        } else if (port == 7 && send(fd, buf, k, MSG_NOSIGNAL) < 0)
          close(fd);
      }
    }
  }
}
