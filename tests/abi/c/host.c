/* The smallest host a plugin can meet: loads one library, makes one instance, delivers one event twice, and prints
 * what came of each step. The tests read the lines.
 *   host PLUGIN.so TABLE CONFIG [REMOVE]
 * TABLE is full, null (no function offered), large (a newer host's table), or a number (the bytes of an older host's
 * table). The file REMOVE is removed between the handling of the event and its verification.
 * The table ends where readable memory ends, so a plugin that reads beyond struct_size dies here. Apache-2.0. */

#define _GNU_SOURCE

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cloudsnooze/cloudsnooze.h"

static uint32_t cancelled;

static void print_text(const char *what, int number, snooze_str text)
{
  printf("%s %d %.*s\n", what, number, (int)text.len, text.len != 0 ? text.ptr : "");
}

static void host_log(const snooze_host *host, const snooze_log_record *record)
{
  (void)host;
  print_text("log", (int)record->level, record->message);
}

static uint32_t host_log_enabled(const snooze_host *host, uint32_t level)
{
  (void)host;
  return level <= SNOOZE_LOG_INFO;
}

static snooze_status host_report_error(const snooze_host *host, snooze_status code, snooze_str text)
{
  (void)host;
  print_text("error", code, text);
  return code;
}

static const void *host_get_extension(const snooze_host *host, const char *id)
{
  (void)host;
  (void)id;
  return NULL;
}

static snooze_status host_subscribe(const snooze_host *host, const snooze_subscription *sub, uint64_t *out_id)
{
  (void)host;
  for (size_t i = 0; sub->kinds[i] != NULL; i++) {
    printf("subscribe %u %s\n", sub->priority, sub->kinds[i]);
  }
  if (out_id != NULL) {
    *out_id = 1;
  }
  return SNOOZE_OK;
}

static snooze_status host_unsubscribe(const snooze_host *host, uint64_t id)
{
  (void)host;
  (void)id;
  return SNOOZE_OK;
}

static uint32_t host_field_id(const snooze_host *host, snooze_str path)
{
  (void)host;
  (void)path;
  return 0;
}

/* The zone, the deadline and the notice's kind are absent; the instance type is as ugly as JSON allows. */
static snooze_status host_event_str(const snooze_host *host, const snooze_event *event, uint32_t field, snooze_str *out)
{
  (void)host;
  (void)event;
  switch (field) {
  case SNOOZE_FIELD_TYPE: *out = SNOOZE_STR("cloud.spot.interrupt"); return SNOOZE_OK;
  case SNOOZE_FIELD_ID: *out = SNOOZE_STR("01980000-0000-7000-8000-000000000001"); return SNOOZE_OK;
  case SNOOZE_FIELD_SOURCE: *out = SNOOZE_STR("aws.ec2.metadata-service"); return SNOOZE_OK;
  case SNOOZE_FIELD_SEVERITY: *out = SNOOZE_STR("urgent"); return SNOOZE_OK;
  case SNOOZE_FIELD_PROVIDER: *out = SNOOZE_STR("aws"); return SNOOZE_OK;
  case SNOOZE_FIELD_ACTION: *out = SNOOZE_STR("terminate"); return SNOOZE_OK;
  case SNOOZE_FIELD_INSTANCE_ID: *out = SNOOZE_STR("i-0123456789abcdef0"); return SNOOZE_OK;
  case SNOOZE_FIELD_INSTANCE_TYPE: *out = SNOOZE_STR("m5 \"large\" \\ / \b\f\n\r\t\x01\x1f\x7f \xc3\xa9"); return SNOOZE_OK;
  case SNOOZE_FIELD_REGION: *out = SNOOZE_STR(""); return SNOOZE_OK;
  default: return SNOOZE_E_NOT_FOUND;
  }
}

static snooze_status host_event_json(const snooze_host *host, const snooze_event *event, snooze_str *out)
{
  (void)host;
  (void)event;
  *out = SNOOZE_STR("{}");
  return SNOOZE_OK;
}

static int64_t host_left_ns(const snooze_host *host, const snooze_call *call)
{
  (void)host;
  (void)call;
  return 29950999999;
}

static snooze_status host_set_result(const snooze_host *host, const snooze_call *call, snooze_str json)
{
  (void)host;
  print_text("result", (int)call->attempt, json);
  return SNOOZE_OK;
}

/* The table that `kind` asks for, at the very end of readable memory. */
static const snooze_host *make_table(const char *kind)
{
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  snooze_host full;
  size_t size = sizeof full;
  char *memory = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED || mprotect(memory + page, page, PROT_NONE) != 0) {
    perror("mmap");
    exit(2);
  }
  memset(&full, 0, sizeof full);
  if (strcmp(kind, "null") != 0) {
    full.log = host_log;
    full.log_enabled = host_log_enabled;
    full.report_error = host_report_error;
    full.get_extension = host_get_extension;
    full.subscribe = host_subscribe;
    full.unsubscribe = host_unsubscribe;
    full.field_id = host_field_id;
    full.event_str = host_event_str;
    full.event_json = host_event_json;
    full.left_ns = host_left_ns;
    full.set_result = host_set_result;
  }
  if (strcmp(kind, "large") == 0) {
    size += 64;
    full.abi_minor = 7;
  } else if (strcmp(kind, "full") != 0 && strcmp(kind, "null") != 0) {
    size = (size_t)strtoul(kind, NULL, 10);
  }
  full.struct_size = (uint32_t)size;
  /* What a newer host appended is unknown here, and poison for whoever calls it. */
  memset(memory, 0xA5, page);
  memcpy(memory + page - size, &full, size < sizeof full ? size : sizeof full);
  return (const snooze_host *)(void *)(memory + page - size);
}

static const snooze_entry *load(const char *path)
{
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  const snooze_entry *entry = library != NULL ? dlsym(library, "snooze_plugin_entry_v1") : NULL;
  if (entry == NULL || entry->magic != SNOOZE_ENTRY_MAGIC || entry->class_count == 0) {
    fprintf(stderr, "%s is no plugin: %s\n", path, dlerror());
    exit(2);
  }
  return entry;
}

static void deliver(const snooze_plugin *plugin, const char *remove_path)
{
  snooze_status status;
  snooze_event event;
  snooze_call call;
  memset(&event, 0, sizeof event);
  memset(&call, 0, sizeof call);
  event.struct_size = sizeof event;
  event.kind = SNOOZE_KIND_SPOT_INTERRUPT;
  event.severity = SNOOZE_SEVERITY_URGENT;
  event.seq = 1;
  call.struct_size = sizeof call;
  call.attempt = 1;
  call.cancelled = &cancelled;
  status = plugin->on_event(plugin, &event, &call);
  printf("on_event %d\n", status);
  if (remove_path != NULL && remove(remove_path) != 0) {
    perror(remove_path);
    exit(2);
  }
  /* As in the daemon: what was not handled is not verified. */
  if (status == SNOOZE_OK && SNOOZE_HAS(plugin, verify)) {
    printf("verify %d\n", plugin->verify(plugin, &event, &call));
  }
  if (SNOOZE_HAS(plugin, on_cancel)) {
    plugin->on_cancel(plugin, &call, SNOOZE_CANCEL_WITHDRAWN);
  }
  __atomic_store_n(&cancelled, SNOOZE_CANCEL_WITHDRAWN, __ATOMIC_RELEASE);
  call.attempt = 2;
  printf("on_event %d\n", plugin->on_event(plugin, &event, &call));
}

int main(int argc, char **argv)
{
  const snooze_plugin *plugin = NULL;
  const snooze_host *host;
  const snooze_class *class_record;
  snooze_create_args args;
  snooze_status status;
  if (argc != 4 && argc != 5) {
    fprintf(stderr, "usage: %s PLUGIN.so full|null|large|BYTES CONFIG [REMOVE]\n", argv[0]);
    return 2;
  }
  setvbuf(stdout, NULL, _IOLBF, 0);
  class_record = load(argv[1])->classes[0];
  host = make_table(argv[2]);
  printf("class %s\n", class_record->name);
  memset(&args, 0, sizeof args);
  args.struct_size = sizeof args;
  args.instance_name = SNOOZE_STR("cloud.spot.interrupt/test");
  args.config = snooze_str_from(argv[3]);
  status = class_record->create(host, &args, &plugin);
  printf("create %d\n", status);
  if (status < 0) {
    printf("out %s\n", plugin == NULL ? "untouched" : "written");
    return 0;
  }
  status = SNOOZE_HAS(plugin, activate) ? plugin->activate(plugin) : SNOOZE_OK;
  printf("activate %d\n", status);
  if (status >= 0) {
    if (SNOOZE_HAS(plugin, warm_up)) {
      plugin->warm_up(plugin);
    }
    deliver(plugin, argc == 5 ? argv[4] : NULL);
    plugin->deactivate(plugin);
  }
  plugin->destroy(plugin);
  printf("end\n");
  return 0;
}
