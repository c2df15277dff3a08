/* Exhibit in C99: a handler that promises not to block (-DCAPS=SNOOZE_CAP_REALTIME), or one that completes on a thread of its own
 * (-DCAPS=SNOOZE_CAP_ASYNC); of the tables only what must be there. It must never change: what was built from it is here.
 *
 * Configuration: {"file": "/path"}. Apache-2.0. */

#define _POSIX_C_SOURCE 200809L

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include <cloudsnooze/cloudsnooze.h>
#include <cloudsnooze/json.h>

/* The C library has the function under this older version, too: the exhibit asks for no newer one. */
#if defined __x86_64__
__asm__(".symver pthread_create, pthread_create@GLIBC_2.2.5\n.symver pthread_join, pthread_join@GLIBC_2.2.5");
#endif

struct exhibit {
  snooze_plugin table;
  const snooze_host *host;
  const snooze_call *call;
  pthread_t thread;
  int has_thread, events;
  char file[4096];
};

static void note(const struct exhibit *self, const char *line, size_t length)
{
  int fd = open(self->file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (fd >= 0) {
    if (write(fd, line, length) != (ssize_t)length) {
      snooze_log(self->host, SNOOZE_LOG_ERROR, SNOOZE_STR("cannot note it"));
    }
    close(fd);
  }
}

#define NOTE(self, what) note(self, NAME " " what "\n", sizeof(NAME " " what "\n") - 1)

static void *complete(void *ctx)
{
  struct exhibit *self = ctx;
  self->host->set_result(self->host, self->call, SNOOZE_STR("{\"completed\":\"later\"}"));
  self->host->complete(self->host, self->call, SNOOZE_OK, SNOOZE_STR(""));
  return NULL;
}

static snooze_status on_event(const snooze_plugin *plugin, const snooze_event *event, const snooze_call *call)
{
  struct exhibit *self = plugin->ctx;
  self->events++;
  (void)event;
  if ((CAPS & SNOOZE_CAP_ASYNC) == 0) {
    return snooze_set_result(self->host, call, SNOOZE_STR("{\"completed\":\"at once\"}"));
  }
  if (self->has_thread) {
    return SNOOZE_E_BUSY;
  }
  self->call = call;
  self->has_thread = pthread_create(&self->thread, NULL, complete, self) == 0;
  return self->has_thread ? SNOOZE_ASYNC : SNOOZE_E_NO_MEMORY;
}

static void deactivate(const snooze_plugin *plugin)
{
  struct exhibit *self = plugin->ctx;
  if (self->has_thread) {
    pthread_join(self->thread, NULL);
    self->has_thread = 0;
  }
  if (self->events > 0) {
    NOTE(self, "handled");
  }
}

static void destroy(const snooze_plugin *plugin)
{
  struct exhibit *self = plugin->ctx;
  NOTE(self, "destroyed");
  free(self);
}

static snooze_status create(const snooze_host *host, const snooze_create_args *args, const snooze_plugin **out)
{
  struct exhibit *self = calloc(1, sizeof *self);
  if (self == NULL) {
    return SNOOZE_E_NO_MEMORY;
  }
  if (snooze_json_text(args->config, "file", self->file, sizeof self->file) != SNOOZE_OK) {
    free(self);
    return SNOOZE_E_CONFIG;
  }
  self->host = host;
  self->table.struct_size = sizeof self->table;
  self->table.ctx = self;
  self->table.on_event = on_event;
  self->table.deactivate = deactivate;
  self->table.destroy = destroy;
  NOTE(self, "created");
  *out = &self->table;
  return SNOOZE_OK;
}

static const snooze_class CLASS = {sizeof(snooze_class), 0, CAPS, "org.cloudsnooze.museum." NAME, NAME, "1.0.0",
                                   "An exhibit of the museum", NULL, create};

SNOOZE_EXPORT("The CloudSnooze authors", "Apache-2.0", "", &CLASS);
