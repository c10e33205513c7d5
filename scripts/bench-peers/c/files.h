// As many descriptors as ten thousand connections take, or as may be had.
#pragma once
#include <sys/resource.h>

static void many_files(void) {
  struct rlimit r;
  getrlimit(RLIMIT_NOFILE, &r);
  if (r.rlim_cur < 20000) r.rlim_cur = r.rlim_max < 20000 ? r.rlim_max : 20000;
  setrlimit(RLIMIT_NOFILE, &r);
}
