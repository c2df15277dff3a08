/* A plugin that is right, until a -D makes it wrong in one way. Whatever of it runs leaves a file behind.
 *
 * -DNAME="name": its name. -DMARKS="path": a constructor makes the file MARKS.loaded, create MARKS.created, destroy
 * MARKS.destroyed. The rest stand in for one word of the records each, or for what a function does. Apache-2.0. */

#define _POSIX_C_SOURCE 200809L

#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <unistd.h>

#include <cloudsnooze/cloudsnooze.h>

#ifndef MAGIC
#define MAGIC SNOOZE_ENTRY_MAGIC
#endif
#ifndef MAJOR
#define MAJOR SNOOZE_ABI_MAJOR
#endif
#ifndef MINOR_BUILT
#define MINOR_BUILT SNOOZE_ABI_MINOR
#endif
#ifndef MINOR_REQUIRED
#define MINOR_REQUIRED 0
#endif
#ifndef POINTER_BITS
#define POINTER_BITS 64
#endif
#ifndef ENTRY_BYTES
#define ENTRY_BYTES sizeof(snooze_entry)
#endif
#ifndef DIGEST
#define DIGEST SNOOZE_ABI_DIGEST
#endif
#ifndef CLASS_BYTES
#define CLASS_BYTES sizeof(snooze_class)
#endif
#ifndef CLASS_ID
#define CLASS_ID "org.cloudsnooze.test.refused"
#endif
#ifndef VERSION
#define VERSION "1.0.0"
#endif
#ifndef CREATE
#define CREATE create
#endif
#ifndef SCHEMA
#define SCHEMA "{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{\"rows\":{\"type\":\"integer\"}}}"
#endif
#ifndef ENTRY
#define ENTRY snooze_plugin_entry_v1
#endif
#ifndef TABLE_BYTES
#define TABLE_BYTES sizeof(snooze_plugin)
#endif
#ifndef ON_EVENT
#define ON_EVENT on_event
#endif

static void mark(const char *path)
{
  int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (fd >= 0) {
    close(fd);
  }
}

__attribute__((constructor)) static void loaded(void) { mark(MARKS ".loaded"); }

#ifdef TEXT_RELOCATION
/* An address inside of the code, which the loader would have to write there. */
__asm__(".pushsection .text\n.quad loaded\n.popsection\n");
#endif

#ifdef UNRESOLVED
extern int nobody_has_this_function(void);
#endif

static const snooze_host *the_host;

static snooze_status activate(const snooze_plugin *plugin)
{
  (void)plugin;
#ifdef ACTIVATE_FAILS
  return snooze_failf(the_host, SNOOZE_E_DENIED, "the vault is locked");
#else
  return SNOOZE_OK;
#endif
}

static snooze_status on_event(const snooze_plugin *plugin, const snooze_event *event, const snooze_call *call)
{
  (void)plugin, (void)event, (void)call;
#ifdef UNRESOLVED
  return nobody_has_this_function();
#else
#ifdef NAP_MS
  poll(NULL, 0, NAP_MS);
#endif
  return SNOOZE_OK;
#endif
}

static void deactivate(const snooze_plugin *plugin) { (void)plugin; }
static void destroy(const snooze_plugin *plugin) { (void)plugin, mark(MARKS ".destroyed"); }

static const snooze_plugin TABLE = {.struct_size = TABLE_BYTES,
                                    .activate = activate,
                                    .on_event = ON_EVENT,
                                    .deactivate = deactivate,
                                    .destroy = destroy};

static snooze_status create(const snooze_host *host, const snooze_create_args *args, const snooze_plugin **out)
{
  (void)args, (void)&TABLE;
  the_host = host;
  mark(MARKS ".created");
#if defined CREATE_FAILS
  (void)out;
  return snooze_failf(host, SNOOZE_E_IO, "the disk is full of eels");
#elif defined CREATE_FAILS_SILENTLY
  (void)out;
  return SNOOZE_E_BUSY;
#elif defined CREATE_MAKES_NOTHING
  (void)out;
  return SNOOZE_OK;
#else
  *out = &TABLE;
  return SNOOZE_OK;
#endif
}

static const char *config_schema(void) { return SCHEMA; }

static const snooze_class CLASS = {
    CLASS_BYTES, 0, 0, CLASS_ID, NAME, VERSION, "Wrong in one way", config_schema, CREATE};

/* What SNOOZE_EXPORT writes, word by word. */
static const snooze_class *const CLASSES[] = {&CLASS};
extern __attribute__((visibility("default"))) const snooze_entry ENTRY;
__attribute__((used)) const snooze_entry ENTRY = {
    MAGIC,  MAJOR, MINOR_BUILT, MINOR_REQUIRED, POINTER_BITS, ENTRY_BYTES, 0, DIGEST, {0, 0, 0, 0}, CLASSES, 1,
    "none", "Apache-2.0", "", SNOOZE_SDK};

#ifdef PROGRAM
int main(void) { return 0; }
#endif
