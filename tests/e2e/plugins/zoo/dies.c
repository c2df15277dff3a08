/* A plugin that writes down each call and takes the whole process with it where its configuration says so.
 *
 * Configuration: {"mode": "...", "file": "/path"}. Each call is one line in the file: NAME, attempt, idempotency key.
 * -DNAME="...": its name. The mode "waits" ends when the file FILE.release exists. Apache-2.0. */

#define _GNU_SOURCE

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cloudsnooze/cloudsnooze.h>
#include <cloudsnooze/json.h>

#ifndef NAME
#define NAME "dies"
#endif

struct self {
  snooze_plugin table;
  const snooze_host *host;
  char mode[64];
  char file[3072];
};

static int is(const struct self *self, const char *mode)
{
  return strcmp(self->mode, mode) == 0;
}

static void record(const struct self *self, const snooze_call *call)
{
  FILE *file = fopen(self->file, "a");
  if (file == NULL) {
    return;
  }
  fprintf(file, "%s %u ", NAME, call->attempt);
  for (size_t i = 0; i < sizeof call->idempotency_key; i++) {
    fprintf(file, "%02x", call->idempotency_key[i]);
  }
  fprintf(file, "\n");
  fclose(file);
}

static void segfault(void)
{
  volatile int *nowhere = (volatile int *)(uintptr_t)8;
  *nowhere = 1;
}

static int overflow(int depth)
{
  volatile char room[4096];
  room[0] = (char)depth;
  return depth < 0 ? 0 : overflow(depth + 1) + room[0];
}

static void *segfault_elsewhere(void *unused)
{
  (void)unused;
  segfault();
  return NULL;
}

/* Until FILE.release is there, at most a minute. */
static void wait_for_release(const struct self *self)
{
  char path[4096];
  snprintf(path, sizeof path, "%s.release", self->file);
  for (int i = 0; i < 6000 && access(path, F_OK) != 0; i++) {
    struct timespec tick = {0, 10000000};
    nanosleep(&tick, NULL);
  }
}

static snooze_status on_event(const snooze_plugin *plugin, const snooze_event *event, const snooze_call *call)
{
  const struct self *self = plugin->ctx;
  pthread_t thread;
  (void)event;
  record(self, call);
  if (is(self, "segfault")) {
    segfault();
  } else if (is(self, "abort")) {
    abort();
  } else if (is(self, "exit")) {
    exit(0);
  } else if (is(self, "stack overflow")) {
    return overflow(0);
  } else if (is(self, "thread")) {
    pthread_create(&thread, NULL, segfault_elsewhere, NULL);
    pthread_join(thread, NULL);
  } else if (is(self, "waits")) {
    wait_for_release(self);
  }
  return SNOOZE_OK;
}

static snooze_status activate(const snooze_plugin *plugin)
{
  const struct self *self = plugin->ctx;
  if (is(self, "segfault in activate")) {
    segfault();
  }
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
  snooze_json_text(args->config, "mode", self->mode, sizeof self->mode);
  snooze_json_text(args->config, "file", self->file, sizeof self->file);
  self->host = host;
  self->table = (snooze_plugin){.struct_size = sizeof self->table,
                                .ctx = self,
                                .activate = activate,
                                .on_event = on_event,
                                .deactivate = deactivate,
                                .destroy = destroy};
  *out = &self->table;
  return SNOOZE_OK;
}

static const snooze_class CLASS = {sizeof(snooze_class), 0,    0, "org.cloudsnooze.test." NAME, NAME, "1.0.0",
                                   "Ends the process",   NULL, create};

SNOOZE_EXPORT("The CloudSnooze authors", "Apache-2.0", "", &CLASS);
