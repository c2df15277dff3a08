/* A plugin that misbehaves at its first event, in the way its configuration names, and records events otherwise.
 *
 * Configuration: {"mode": "...", "file": "/path"}. Each event that it handles well is one line in the file: NAME, the
 * event's id. -DNAME="...": its name. Modes that last end when the file FILE.release exists. Apache-2.0. */

#define _GNU_SOURCE

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cloudsnooze/cloudsnooze.h>
#include <cloudsnooze/json.h>

#ifndef NAME
#define NAME "misbehaves"
#endif
#ifndef CAPS
#define CAPS SNOOZE_CAP_ASYNC
#endif

struct self {
  snooze_plugin table;
  const snooze_host *host;
  char mode[64], file[3072];
  atomic_int calls;
  pthread_t thread;
  int has_thread;
  const snooze_call *call;
};

typedef snooze_status mode_function(struct self *self, const snooze_event *event, const snooze_call *call);

static int is(const struct self *self, const char *mode) { return strcmp(self->mode, mode) == 0; }

static void append(const struct self *self, const char *suffix, const char *text)
{
  char path[4096];
  int fd;
  snprintf(path, sizeof path, "%s%s", self->file, suffix);
  fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (fd >= 0) {
    ssize_t written = write(fd, text, strlen(text));
    (void)written;
    close(fd);
  }
}

/* Until the test says so; a minute at most, so that nothing is left behind when the test is gone. */
static void wait_for_release(const struct self *self)
{
  char path[4096];
  snprintf(path, sizeof path, "%s.release", self->file);
  for (int i = 0; i < 6000 && access(path, F_OK) != 0; i++) {
    struct timespec tick = {0, 10000000};
    nanosleep(&tick, NULL);
  }
}

static void wait_for_cancellation(const struct self *self, const snooze_call *call)
{
  struct pollfd cancelled = {self->host->cancel_fd(self->host, call), POLLIN, 0};
  poll(&cancelled, 1, 60000);
}

static snooze_status record(const struct self *self, const snooze_event *event)
{
  char line[256];
  snooze_str id = snooze_event_text(self->host, event, SNOOZE_FIELD_ID);
  snprintf(line, sizeof line, "%s %.*s\n", NAME, (int)id.len, id.ptr);
  append(self, "", line);
  return SNOOZE_OK;
}

/* Time over: stops when told to. */
static snooze_status obeys(struct self *self, const snooze_event *event, const snooze_call *call)
{
  (void)event;
  wait_for_cancellation(self, call);
  return snooze_failf(self->host, SNOOZE_E_CANCELLED, "stopped for reason %u, %lld ms left", snooze_cancelled(call),
                      (long long)snooze_left_ms(self->host, call));
}

/* Time over: goes on to the end of its work, a little late. */
static snooze_status finishes_late(struct self *self, const snooze_event *event, const snooze_call *call)
{
  wait_for_cancellation(self, call);
  return record(self, event);
}

/* Time over: does not listen. */
static snooze_status deaf(struct self *self, const snooze_event *event, const snooze_call *call)
{
  (void)call;
  wait_for_release(self);
  return record(self, event);
}

static snooze_status burns(struct self *self, const snooze_event *event, const snooze_call *call)
{
  clock_t until = clock() + CLOCKS_PER_SEC * 3 / 10;
  (void)call;
  while (clock() < until) {
  }
  return record(self, event);
}

static snooze_status strange_status(struct self *self, const snooze_event *event, const snooze_call *call)
{
  (void)event, (void)call;
  return is(self, "status 12345") ? 12345 : -9999;
}

/* What the host says to results that it cannot take is told in one that it can. */
static snooze_status bad_results(struct self *self, const snooze_event *event, const snooze_call *call)
{
  enum { LARGE = 1 << 20 };
  static const char *const BAD[] = {"not JSON", "[1,2]", "{\"a\":\"\xff\xfe\"}", ""};
  char said[256];
  int codes[5], i;
  char *large = malloc(LARGE);
  if (large == NULL) {
    return SNOOZE_E_NO_MEMORY;
  }
  memset(large, 'x', LARGE);
  memcpy(large, "{\"a\":\"", 6);
  memcpy(large + LARGE - 2, "\"}", 2);
  codes[0] = snooze_set_result(self->host, call, snooze_str_of(large, LARGE));
  free(large);
  for (i = 0; i < 4; i++) {
    codes[i + 1] = snooze_set_result(self->host, call, snooze_str_from(BAD[i]));
  }
  snprintf(said, sizeof said, "{\"large\":%d,\"text\":%d,\"list\":%d,\"bytes\":%d,\"empty\":%d}", codes[0], codes[1],
           codes[2], codes[3], codes[4]);
  snooze_set_result(self->host, call, snooze_str_from(said));
  return record(self, event);
}

static snooze_status bad_error(struct self *self, const snooze_event *event, const snooze_call *call)
{
  enum { LARGE = 1 << 20 };
  snooze_status status;
  char *large;
  (void)event, (void)call;
  if (is(self, "error text of bytes")) {
    return self->host->report_error(self->host, SNOOZE_E_IO, snooze_str_from("disk \xff\xfe gone"));
  }
  large = malloc(LARGE);
  if (large == NULL) {
    return SNOOZE_E_NO_MEMORY;
  }
  memset(large, 'e', LARGE);
  status = self->host->report_error(self->host, SNOOZE_E_IO, snooze_str_of(large, LARGE));
  free(large);
  return status;
}

static void *complete_twice(void *ctx)
{
  struct self *self = ctx;
  char said[64];
  snooze_status first = self->host->complete(self->host, self->call, SNOOZE_OK, SNOOZE_STR("")), second;
  wait_for_release(self);
  second = self->host->complete(self->host, self->call, SNOOZE_E_IO, SNOOZE_STR("changed my mind"));
  snprintf(said, sizeof said, "%d %d\n", (int)first, (int)second);
  append(self, ".completions", said);
  return NULL;
}

static snooze_status goes_on_elsewhere(struct self *self, const snooze_event *event, const snooze_call *call)
{
  record(self, event);
  self->call = call;
  if (is(self, "completes twice")) {
    self->has_thread = pthread_create(&self->thread, NULL, complete_twice, self) == 0;
  }
  return SNOOZE_ASYNC;
}

static snooze_status fails(struct self *self, const snooze_event *event, const snooze_call *call)
{
  (void)event, (void)call;
  return snooze_failf(self->host, SNOOZE_E_IO, "the tape is torn");
}

static snooze_status retries(struct self *self, const snooze_event *event, const snooze_call *call)
{
  if (call->attempt < 3 || is(self, "retries in vain")) {
    return snooze_failf(self->host, SNOOZE_E_RETRY, "attempt %u met a locked door", call->attempt);
  }
  return record(self, event);
}

/* Ways to lose the whole process: once, since the process that comes after it begins anew. */
static int is_first_time(const struct self *self)
{
  char path[4096];
  snprintf(path, sizeof path, "%s.once", self->file);
  if (access(path, F_OK) == 0) {
    return 0;
  }
  append(self, ".once", "1\n");
  return 1;
}

/* Fills the memory that it shares with the daemon with nonsense, for as long as it lives. */
static void scribble(void)
{
  char line[512];
  unsigned char filler = 0xA5;
  FILE *maps = fopen("/proc/self/maps", "r");
  unsigned long from = 0, to = 0, begin, end;
  while (maps != NULL && fgets(line, sizeof line, maps) != NULL) {
    if (strstr(line, "cloudsnooze-call") != NULL && sscanf(line, "%lx-%lx", &begin, &end) == 2) {
      from = begin, to = end;
    }
  }
  for (;;) {
    memset((void *)from, filler++, to - from);
  }
}

static snooze_status ends_the_process(struct self *self, const snooze_event *event, const snooze_call *call)
{
  if (is_first_time(self)) {
    if (is(self, "segfault")) {
      *(volatile int *)8 = 1;
    } else if (is(self, "exits")) {
      exit(3);
    } else if (is(self, "scribbles")) {
      scribble();
    } else if (is(self, "hangs")) {
      return deaf(self, event, call);
    }
    abort();
  }
  return record(self, event);
}

static snooze_status tells(struct self *self, const snooze_event *event, const snooze_call *call)
{
  char text[1200];
  snooze_str deep = snooze_event_text(self->host, event, self->host->field_id(self->host, SNOOZE_STR("data.deep.x")));
  snooze_logf(self->host, SNOOZE_LOG_WARNING, "it was told %.*s", (int)deep.len, deep.ptr);
  memset(text, 'l', sizeof text - 1);
  text[sizeof text - 1] = 0;
  snooze_logf(self->host, SNOOZE_LOG_WARNING, "a long line %s", text);
  self->host->progress(self->host, call, 500, SNOOZE_STR("half"));
  snooze_set_result(self->host, call, SNOOZE_STR("{\"rows\":3}"));
  snooze_set_result(self->host, call, SNOOZE_STR("{\"more\":[1,2]}"));
  return record(self, event);
}

static snooze_status declines(struct self *self, const snooze_event *event, const snooze_call *call)
{
  (void)self, (void)event, (void)call;
  return SNOOZE_SKIPPED;
}

static const struct {
  const char *mode;
  mode_function *run;
} MODES[] = {
    {"obeys", obeys},
    {"finishes late", finishes_late},
    {"deaf", deaf},
    {"hangs in on_cancel", deaf},
    {"burns", burns},
    {"status 12345", strange_status},
    {"status -9999", strange_status},
    {"bad results", bad_results},
    {"error text of bytes", bad_error},
    {"error text of a megabyte", bad_error},
    {"never completes", goes_on_elsewhere},
    {"completes twice", goes_on_elsewhere},
    {"fails", fails},
    {"retries", retries},
    {"retries in vain", retries},
    {"declines", declines},
    {"segfault", ends_the_process},
    {"exits", ends_the_process},
    {"aborts", ends_the_process},
    {"scribbles", ends_the_process},
    {"hangs", ends_the_process},
    {"tells", tells},
};

static snooze_status on_event(const snooze_plugin *plugin, const snooze_event *event, const snooze_call *call)
{
  struct self *self = plugin->ctx;
  if (call->attempt > 1 || atomic_fetch_add(&self->calls, 1) == 0) {
    for (size_t i = 0; i < sizeof MODES / sizeof MODES[0]; i++) {
      if (is(self, MODES[i].mode)) {
        return MODES[i].run(self, event, call);
      }
    }
  }
  return record(self, event);
}

static void on_cancel(const snooze_plugin *plugin, const snooze_call *call, uint32_t reason)
{
  const struct self *self = plugin->ctx;
  (void)call, (void)reason;
  if (is(self, "hangs in on_cancel")) {
    wait_for_release(self);
  }
}

static snooze_status verify(const snooze_plugin *plugin, const snooze_event *event, const snooze_call *call)
{
  const struct self *self = plugin->ctx;
  (void)event, (void)call;
  if (is(self, "verify says no") && atomic_load(&self->calls) == 1) {
    snooze_set_result(self->host, call, SNOOZE_STR("{\"rows\":0}"));
    return snooze_failf(self->host, SNOOZE_E_NOT_FOUND, "no row of it is there");
  }
  return is(self, "verify cannot tell") ? SNOOZE_SKIPPED : SNOOZE_OK;
}

static void deactivate(const snooze_plugin *plugin)
{
  struct self *self = plugin->ctx;
  if (self->has_thread) {
    pthread_join(self->thread, NULL);
    self->has_thread = 0;
  }
}

static void destroy(const snooze_plugin *plugin)
{
  struct self *self = plugin->ctx;
  append(self, ".destroyed", NAME "\n");
  free(self);
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
                                .on_event = on_event,
                                .on_cancel = on_cancel,
                                .deactivate = deactivate,
                                .destroy = destroy,
                                .verify = verify};
  *out = &self->table;
  return SNOOZE_OK;
}

#ifdef DIES_AT_LOAD
__attribute__((constructor)) static void die(void) { abort(); }
#endif

static const snooze_class CLASS = {sizeof(snooze_class), 0,    CAPS, "org.cloudsnooze.test." NAME, NAME, "1.0.0",
                                   "Misbehaves once",    NULL, create};

SNOOZE_EXPORT("The CloudSnooze authors", "Apache-2.0", "", &CLASS);
