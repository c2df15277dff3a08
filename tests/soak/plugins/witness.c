/* A handler whose effect can be counted, and that goes wrong in the way that the campaign has drawn for it.
 *
 * Configuration: {"directory": "/path"}. Each call leaves lines in DIRECTORY/lines: what, name, attempt, idempotency key,
 * event id, CLOCK_MONOTONIC nanoseconds. Its effect is the file DIRECTORY/effects/KEY: done once a key, because it looks
 * whether it is there. The file DIRECTORY/mode-NAME says what goes wrong at the next call; it is taken away by the call.
 * -DNAME="...": its name. Apache-2.0. */

#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cloudsnooze/cloudsnooze.h>
#include <cloudsnooze/json.h>

struct self {
  snooze_plugin table;
  const snooze_host *host;
  char directory[2048];
};

static void nap(long milliseconds)
{
  struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000};
  while (nanosleep(&time, &time) != 0 && errno == EINTR) {
  }
}

static void key_of(const snooze_call *call, char *text)
{
  for (size_t i = 0; i < sizeof call->idempotency_key; i++) {
    sprintf(text + 2 * i, "%02x", call->idempotency_key[i]);
  }
}

static void tell(const struct self *self, const char *what, const snooze_event *event, const snooze_call *call)
{
  char path[3072], key[64], line[512];
  struct timespec now;
  snooze_str id = snooze_event_text(self->host, event, SNOOZE_FIELD_ID);
  int fd, length;
  key_of(call, key);
  clock_gettime(CLOCK_MONOTONIC, &now);
  length = snprintf(line, sizeof line, "%s %s %u %s %.*s %lld\n", what, NAME, call->attempt, key, (int)id.len, id.ptr,
                    (long long)now.tv_sec * 1000000000LL + now.tv_nsec);
  snprintf(path, sizeof path, "%s/lines", self->directory);
  fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (fd >= 0) {
    ssize_t written = write(fd, line, (size_t)length);
    (void)written;
    close(fd);
  }
}

/* What goes wrong at this call; empty: nothing. Whoever dies of it finds it gone the next time. */
static void take_mode(const struct self *self, char *mode, size_t size)
{
  char path[3072], taken[3200];
  ssize_t length = 0;
  int fd;
  mode[0] = '\0';
  snprintf(path, sizeof path, "%s/mode-" NAME, self->directory);
  snprintf(taken, sizeof taken, "%s.taken", path);
  if (rename(path, taken) != 0) {
    return;
  }
  fd = open(taken, O_RDONLY | O_CLOEXEC);
  if (fd >= 0) {
    length = read(fd, mode, size - 1);
    close(fd);
  }
  mode[length > 0 ? length : 0] = '\0';
}

static int do_once(const struct self *self, const snooze_call *call)
{
  char path[3072], key[64];
  int fd;
  key_of(call, key);
  snprintf(path, sizeof path, "%s/effects/%s", self->directory, key);
  fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) {
    return 0;
  }
  close(fd);
  return 1;
}

static void die(const char *how)
{
  if (strcmp(how, "exit") == 0) {
    exit(3);
  } else if (strcmp(how, "abort") == 0) {
    abort();
  }
  *(volatile int *)(uintptr_t)16 = 1;
}

static snooze_status on_event(const snooze_plugin *plugin, const snooze_event *event, const snooze_call *call)
{
  const struct self *self = plugin->ctx;
  char mode[32];
  tell(self, "begin", event, call);
  take_mode(self, mode, sizeof mode);
  if (strcmp(mode, "fail") == 0) {
    return snooze_failf(self->host, SNOOZE_E_IO, "the disk said no");
  } else if (strcmp(mode, "retry") == 0) {
    return snooze_failf(self->host, SNOOZE_E_RETRY, "not yet");
  } else if (strcmp(mode, "decline") == 0) {
    return SNOOZE_SKIPPED;
  } else if (strcmp(mode, "status") == 0) {
    return 12345;
  } else if (strcmp(mode, "slow") == 0) {
    nap(150);
  } else if (strcmp(mode, "hang") == 0) {
    nap(1500);
  } else if (strcmp(mode, "segv") == 0 || strcmp(mode, "exit") == 0 || strcmp(mode, "abort") == 0) {
    die(mode);
  }
  tell(self, do_once(self, call) ? "effect" : "again", event, call);
  if (strcmp(mode, "segv-after") == 0) {
    die("segv");
  }
  if (strcmp(mode, "garbage") == 0) {
    snooze_set_result(self->host, call, snooze_str_from("{\"not\": \xff json"));
  }
  tell(self, "end", event, call);
  return SNOOZE_OK;
}

static void deactivate(const snooze_plugin *plugin)
{
  (void)plugin;
}

static void destroy(const snooze_plugin *plugin)
{
  free(plugin->ctx);
}

static snooze_status create(const snooze_host *host, const snooze_create_args *args, const snooze_plugin **out)
{
  struct self *self = calloc(1, sizeof *self);
  if (self == NULL) {
    return SNOOZE_E_NO_MEMORY;
  }
  snooze_json_text(args->config, "directory", self->directory, sizeof self->directory);
  self->host = host;
  self->table = (snooze_plugin){.struct_size = sizeof self->table,
                                .ctx = self,
                                .on_event = on_event,
                                .deactivate = deactivate,
                                .destroy = destroy};
  *out = &self->table;
  return SNOOZE_OK;
}

static const snooze_class CLASS = {sizeof(snooze_class), 0,    0, "org.cloudsnooze.soak." NAME, NAME, "1.0.0",
                                   "Can be counted",     NULL, create};

SNOOZE_EXPORT("The CloudSnooze authors", "Apache-2.0", "", &CLASS);
