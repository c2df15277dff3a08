/* Claims a name that only one copy of it can have. */

#include "zoo.h"

#include <stddef.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

__attribute__((constructor)) static void claim(void)
{
  struct sockaddr_un name;
  int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), len;
  memset(&name, 0, sizeof name);
  name.sun_family = AF_UNIX;
  /* In the abstract name space: it goes with the process. */
  len = snprintf(name.sun_path + 1, sizeof name.sun_path - 1, "zoo-single-copy-%d", (int)getpid());
  if (bind(fd, (struct sockaddr *)&name, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)len)) != 0) {
    abort();
  }
}

static snooze_status defect(struct zoo *self, const snooze_event *event, const snooze_call *call)
{
  (void)self, (void)event, (void)call;
  return SNOOZE_OK;
}
