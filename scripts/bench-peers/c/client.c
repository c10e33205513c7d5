// The kernel's sockets as a client, the same against every peer. Says one JSON object: figures, or an error.
//   client [-s SERVER] [-p PID,..] [-w WARM_S] up|down STREAMS SECONDS
//   client ... rr|crr CONNECTIONS SECONDS   an octet to and fro; a connection, an octet to and fro, and its end
//   client ... udp WINDOW SECONDS           64 octets to and fro by UDP, WINDOW datagrams under way
//   client ... idle N 0                     N connections that do nothing: by how much the server's memory grows
//   client ... ready 1 SECONDS              waits until the server answers
// -p: the server's processes, whose processor time (and resident memory) is taken over the time that is measured.
// crr and idle call from 10.9.0.101 to 116, which must be there: one address has too few ports.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "files.h"
#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

static const char *server = "10.9.0.2", *pids = "";
static double warm = 0.5;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec * 1e-9;
}
static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000ull + t.tv_nsec;
}
static void die(const char *what) {
  printf("{\"error\":\"%s%s%s\"}\n", what, errno ? ": " : "", errno ? strerror(errno) : "");
  fflush(stdout);
  _exit(1);
}
static void msleep(double s) {
  struct timespec t = {(time_t)s, (long)((s - (time_t)s) * 1e9)};
  nanosleep(&t, 0);
}

// ---- processor time -------------------------------------------------------
typedef struct { double all, user, sys, cuser, csys, idle, rss_kb; } cpu_t;
static cpu_t cpu_now(void) {
  cpu_t c = {0};
  // A process's clock is exact. How its time is divided into user and system is sampled, and told in ticks.
  double hz = sysconf(_SC_CLK_TCK);
  char list[256], *save, *p, path[64], buf[1024];
  snprintf(list, sizeof list, "%s", pids);
  for (p = strtok_r(list, ",", &save); p; p = strtok_r(0, ",", &save)) {
    clockid_t clock;
    struct timespec t;
    if (!clock_getcpuclockid(atoi(p), &clock) && !clock_gettime(clock, &t)) c.all += t.tv_sec + t.tv_nsec * 1e-9;
    snprintf(path, sizeof path, "/proc/%s/stat", p);
    FILE *f = fopen(path, "r");
    if (!f) continue;
    if (fgets(buf, sizeof buf, f)) {
      unsigned long u, s;
      if (sscanf(strrchr(buf, ')') + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &u, &s) == 2)
        c.user += u / hz, c.sys += s / hz;
    }
    fclose(f);
    snprintf(path, sizeof path, "/proc/%s/status", p);
    f = fopen(path, "r");
    long kb;
    while (f && fgets(buf, sizeof buf, f))
      if (sscanf(buf, "VmRSS: %ld", &kb) == 1) c.rss_kb += kb;
    if (f) fclose(f);
  }
  struct rusage r;
  getrusage(RUSAGE_SELF, &r);
  c.cuser = r.ru_utime.tv_sec + r.ru_utime.tv_usec * 1e-6;
  c.csys = r.ru_stime.tv_sec + r.ru_stime.tv_usec * 1e-6;
  FILE *f = fopen("/proc/stat", "r");
  unsigned long a, b, d, i, w;
  if (f && fscanf(f, "cpu %lu %lu %lu %lu %lu", &a, &b, &d, &i, &w) == 5) c.idle = (i + w) / hz;
  if (f) fclose(f);
  return c;
}
static void print_cpu(cpu_t a, cpu_t b, double secs) {
  double all = b.all - a.all, us = b.user - a.user, sy = b.sys - a.sys, cl = b.cuser + b.csys - a.cuser - a.csys, idle = b.idle - a.idle;
  // Neither side's: other work on the machine, ksoftirqd.
  double foreign = (sysconf(_SC_NPROCESSORS_ONLN) * secs - idle - all - cl) / secs;
  printf(",\"cpu_user_s\":%.2f,\"cpu_sys_s\":%.2f,\"client_cpu_s\":%.2f,\"idle_cpus\":%.2f,\"foreign_cpus\":%.2f,\"secs\":%.3f}\n", us, sy, cl,
         idle / secs, foreign, secs);
  fflush(stdout);
}

// ---- sockets --------------------------------------------------------------
static int dial(int type, int port, int src) {
  int fd = socket(AF_INET, type, 0), one = 1;
  if (fd < 0) die("socket");
  if (src >= 0) {
    struct sockaddr_in l = {.sin_family = AF_INET};
    char ip[32];
    snprintf(ip, sizeof ip, "10.9.0.%d", 101 + src % 16);
    inet_pton(AF_INET, ip, &l.sin_addr);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    if (bind(fd, (void *)&l, sizeof l)) die("bind");
  }
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
  inet_pton(AF_INET, server, &a.sin_addr);
  if (type == SOCK_STREAM) {
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    // The host's default may be another, and a namespace can't change it.
    if (setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5)) die("cubic");
  }
  if (connect(fd, (void *)&a, sizeof a)) die("connect");
  return fd;
}

// ---- throughput -----------------------------------------------------------
#define MAXS 256
static int fds[MAXS];
static volatile uint64_t rx[MAXS];
static void *tx_thread(void *p) {
  int i = (int)(intptr_t)p;
  static char buf[256 << 10];
  while (send(fds[i], buf, sizeof buf, MSG_NOSIGNAL) > 0) {}
  return 0;
}
static void *rx_thread(void *p) {
  int i = (int)(intptr_t)p;
  size_t n = 256 << 10;
  char *buf = malloc(n);
  ssize_t k;
  while ((k = recv(fds[i], buf, n, 0)) > 0) rx[i] += k;
  return 0;
}
static uint64_t progress(int up, int n, uint64_t *retr, uint64_t *ooo, uint64_t *mn) {
  uint64_t sum = 0;
  *retr = *ooo = 0;
  for (int i = 0; i < n; i++) {
    struct tcp_info t = {0};
    socklen_t l = sizeof t;
    getsockopt(fds[i], IPPROTO_TCP, TCP_INFO, &t, &l);
    uint64_t v = up ? t.tcpi_bytes_acked : rx[i];
    *retr += t.tcpi_total_retrans;
    *ooo += t.tcpi_rcv_ooopack;
    mn[i] = v;
    sum += v;
  }
  return sum;
}
static void throughput(int up, int n, double secs) {
  static uint64_t m0[MAXS], m1[MAXS];
  uint64_t r0, r1, o0, o1;
  if (n > MAXS) n = MAXS;
  for (int i = 0; i < n; i++) fds[i] = dial(SOCK_STREAM, up ? 9 : 19, -1);
  for (int i = 0; i < n; i++) {
    pthread_t t;
    pthread_create(&t, 0, up ? tx_thread : rx_thread, (void *)(intptr_t)i);
  }
  msleep(warm);
  cpu_t c0 = cpu_now();
  uint64_t b0 = progress(up, n, &r0, &o0, m0);
  double t0 = now();
  msleep(secs);
  uint64_t b1 = progress(up, n, &r1, &o1, m1);
  double dt = now() - t0;
  cpu_t c1 = cpu_now();
  double lo = 1e18, hi = 0;
  for (int i = 0; i < n; i++) {
    double d = m1[i] - m0[i];
    if (d < lo) lo = d;
    if (d > hi) hi = d;
  }
  struct tcp_info ti = {0};
  socklen_t l = sizeof ti;
  getsockopt(fds[0], IPPROTO_TCP, TCP_INFO, &ti, &l);
  double gb = (b1 - b0) / 1e9;
  double scpu = c1.all - c0.all;
  printf("{\"value\":%.3f,\"unit\":\"Gbit/s\",\"gbytes\":%.3f,\"cpu_s_per_gb\":%.3f,\"retrans\":%lu,\"ooo\":%lu,"
         "\"stream_min_max\":[%.3f,%.3f],\"mss\":%u,\"rtt_us\":%u,\"snd_wnd\":%u",
         gb * 8 / dt, gb, gb > 0 ? scpu / gb : 0, (unsigned long)(r1 - r0), (unsigned long)(o1 - o0),
         lo * 8e-9 / dt, hi * 8e-9 / dt, up ? ti.tcpi_snd_mss : ti.tcpi_rcv_mss, ti.tcpi_rtt, ti.tcpi_snd_wnd);
  print_cpu(c0, c1, dt);
  _exit(0);
}

// ---- latency --------------------------------------------------------------
static uint32_t *lat;
static size_t nlat, caplat;
static void sample(uint64_t ns) {
  if (nlat == caplat) lat = realloc(lat, (caplat = caplat ? caplat * 2 : 1 << 20) * 4);
  lat[nlat++] = ns > UINT32_MAX ? UINT32_MAX : ns;
}
static int cmp(const void *a, const void *b) {
  uint32_t x = *(uint32_t *)a, y = *(uint32_t *)b;
  return x < y ? -1 : x > y;
}
static double pct(double p) { return nlat ? lat[(size_t)((nlat - 1) * p)] / 1e3 : 0; }
static void report_rate(const char *unit, cpu_t c0, cpu_t c1, double dt, const char *extra) {
  qsort(lat, nlat, 4, cmp);
  double scpu = c1.all - c0.all;
  printf("{\"value\":%.0f,\"unit\":\"%s\",\"p50_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f,\"max_us\":%.1f,\"cpu_us_per_op\":%.2f%s",
         nlat / dt, unit, pct(.5), pct(.99), pct(.999), pct(1), nlat ? scpu * 1e6 / nlat : 0, extra);
  print_cpu(c0, c1, dt);
  _exit(0);
}
static void rr(int n, double secs) {
  int ep = epoll_create1(0), *fd = malloc(n * sizeof *fd);
  uint64_t *t = malloc(n * sizeof *t);
  char b = 'x';
  for (int i = 0; i < n; i++) {
    fd[i] = dial(SOCK_STREAM, 7, -1);
    struct epoll_event e = {.events = EPOLLIN, .data.u32 = i};
    epoll_ctl(ep, EPOLL_CTL_ADD, fd[i], &e);
  }
  for (int i = 0; i < n; i++) t[i] = now_ns(), send(fd[i], &b, 1, 0);
  double t0 = now(), t1 = t0 + warm;
  cpu_t c0 = {0};
  for (int measuring = 0;;) {
    struct epoll_event ev[64];
    int k = 0;
    if (n == 1) {  // plain blocking ping-pong
      if (errno = 0, recv(fd[0], &b, 1, 0) != 1) die("rr: no octet comes");
      ev[0].data.u32 = 0, k = 1;
    } else if (errno = 0, (k = epoll_wait(ep, ev, 64, 2000)) <= 0)
      die("rr: no octet comes for 2 s");
    for (int j = 0; j < k; j++) {
      int i = ev[j].data.u32;
      if (errno = 0, n > 1 && recv(fd[i], &b, 1, 0) != 1) die("rr: a connection ends");
      uint64_t x = now_ns();
      if (measuring) sample(x - t[i]);
      t[i] = x;
      if (send(fd[i], &b, 1, 0) != 1) die("rr: send");
    }
    double x = now();
    if (x >= t1) {
      if (measuring) return report_rate("trans/s", c0, cpu_now(), x - t0, "");
      measuring = 1, c0 = cpu_now(), t0 = now(), t1 = t0 + secs;
    }
  }
}
static volatile int stop_all, counting;
static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER;
static void *crr_thread(void *p) {
  int src = (int)(intptr_t)p;
  while (!stop_all) {
    char b = 'x';
    uint64_t x = now_ns();
    int fd = dial(SOCK_STREAM, 7, src++);
    errno = 0;
    if (send(fd, &b, 1, 0) != 1 || recv(fd, &b, 1, 0) != 1) die("crr: no octet comes");
    close(fd);
    x = now_ns() - x;
    if (counting) {
      pthread_mutex_lock(&mu);
      sample(x);
      pthread_mutex_unlock(&mu);
    }
  }
  return 0;
}
static void crr(int n, double secs) {
  for (int i = 0; i < n; i++) {
    pthread_t t;
    pthread_create(&t, 0, crr_thread, (void *)(intptr_t)i);
  }
  msleep(warm);
  cpu_t c0 = cpu_now();
  counting = 1;
  double t0 = now();
  msleep(secs);
  counting = 0;
  double dt = now() - t0;
  cpu_t c1 = cpu_now();
  pthread_mutex_lock(&mu);
  report_rate("conn/s", c0, c1, dt, "");
}
static void udp(int win, double secs) {
  // Each datagram carries its send time and the generation of the window: echoes that
  // come back after their window was given up are dropped, so at most WINDOW are in flight.
  struct { uint64_t t, gen, pad[6]; } m = {0};
  int fd = dial(SOCK_DGRAM, 7, -1);
  struct timeval tv = {0, 50000};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
  uint64_t gen = 0, stalls = 0;
  for (int i = 0; i < win; i++) m.t = now_ns(), send(fd, &m, sizeof m, 0);
  double t0 = now(), t1 = t0 + warm;
  cpu_t c0 = {0};
  for (int measuring = 0;;) {
    ssize_t k = recv(fd, &m, sizeof m, 0);
    uint64_t x = now_ns();
    if (k == sizeof m && m.gen == gen) {
      if (measuring) sample(x - m.t);
      m.t = x;
      send(fd, &m, sizeof m, 0);
    } else if (k < 0) {  // everything in flight was lost: a new window
      m.gen = ++gen;
      errno = 0;
      if (++stalls > 100) die("udp: no datagram comes");
      for (int i = 0; i < win; i++) m.t = now_ns(), send(fd, &m, sizeof m, 0);
    }
    double y = now();
    if (y >= t1) {
      char extra[64];
      snprintf(extra, sizeof extra, ",\"window_stalls\":%lu", (unsigned long)stalls);
      if (measuring) return report_rate("echo/s", c0, cpu_now(), y - t0, extra);
      measuring = 1, stalls = 0, c0 = cpu_now(), t0 = now(), t1 = t0 + secs;
    }
  }
}
static void idle(int n) {
  for (int i = 0; i < 16; i++) {  // what the server makes once is there before
    int fd = dial(SOCK_STREAM, 7, i);
    char b = 'x';
    errno = 0;
    if (send(fd, &b, 1, 0) != 1 || recv(fd, &b, 1, 0) != 1) die("idle: no octet comes");
    close(fd);
  }
  msleep(0.5);
  cpu_t c0 = cpu_now();
  double t0 = now();
  for (int i = 0; i < n; i++) {
    int fd = dial(SOCK_STREAM, 7, i);
    char b = 'x';
    struct pollfd p = {fd, POLLIN, 0};
    if (send(fd, &b, 1, 0) != 1) die("idle: send");
    errno = 0;
    if (poll(&p, 1, 5000) != 1 || recv(fd, &b, 1, 0) != 1) {
      char what[64];
      snprintf(what, sizeof what, "idle: connection %d of %d does not answer", i + 1, n);
      die(what);
    }
  }
  double dt = now() - t0;
  cpu_t c1 = cpu_now();
  msleep(1);
  c1.rss_kb = cpu_now().rss_kb;
  printf("{\"value\":%.0f,\"unit\":\"bytes/conn\",\"conns\":%d,\"rss0_kb\":%.0f,\"rss1_kb\":%.0f", (c1.rss_kb - c0.rss_kb) * 1024 / n, n,
         c0.rss_kb, c1.rss_kb);
  print_cpu(c0, c1, dt);
  _exit(0);
}
static void ready(double secs) {
  for (double end = now() + secs; now() < end; msleep(0.02)) {
    // Before the server holds the device a SYN vanishes, and the next would go a second later.
    struct timeval t = {0, 100000};
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(7)};
    inet_pton(AF_INET, server, &a.sin_addr);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
    char b = 'x';
    if (!connect(fd, (void *)&a, sizeof a) && send(fd, &b, 1, 0) == 1 && recv(fd, &b, 1, 0) == 1) printf("{}\n"), exit(0);
    close(fd);
  }
  errno = 0, die("nobody answers at port 7");
}

int main(int argc, char **argv) {
  int o;
  while ((o = getopt(argc, argv, "s:p:w:")) != -1) {
    if (o == 's') server = optarg;
    else if (o == 'p') pids = optarg;
    else if (o == 'w') warm = atof(optarg);
    else return 2;
  }
  if (argc - optind != 3) return fprintf(stderr, "usage: client [-s ip] [-p pids] [-w warm] up|down|rr|crr|udp|idle|ready N SECONDS\n"), 2;
  const char *w = argv[optind];
  int n = atoi(argv[optind + 1]);
  double secs = atof(argv[optind + 2]);
  many_files();
  if (!strcmp(w, "up")) throughput(1, n, secs);
  if (!strcmp(w, "down")) throughput(0, n, secs);
  if (!strcmp(w, "rr")) rr(n, secs);
  if (!strcmp(w, "crr")) crr(n, secs);
  if (!strcmp(w, "udp")) udp(n, secs);
  if (!strcmp(w, "idle")) idle(n);
  if (!strcmp(w, "ready")) ready(secs);
  return 2;
}
