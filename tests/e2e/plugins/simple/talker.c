/* A plugin that tells everything it knows wherever it may speak: log lines, errors, results, evidence, progress. What it
 * knows are passwords.
 *
 * Configuration: "journal" is a file that gets the configuration as it came, so that a test can see what was known;
 * "refuse" is "create" or "activate"; "pad" goes before a long line; everything else is a secret. Apache-2.0. */

#define _POSIX_C_SOURCE 200809L

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cloudsnooze/cloudsnooze.h>
#include <cloudsnooze/json.h>

static const char *const KEYS[] = {"connection_string", "webhook_url", "from_credential", "from_env", "from_file"};
#define KEY_COUNT (sizeof KEYS / sizeof KEYS[0])

struct talker {
  snooze_plugin table;
  const snooze_host *host;
  char config[8192], secrets[KEY_COUNT][512], refuse[32];
};

/* Every secret, one line each, at every level. */
static void tell_all(const struct talker *self, const char *when)
{
  for (size_t i = 0; i < KEY_COUNT; i++) {
    for (uint32_t level = SNOOZE_LOG_ERROR; level <= SNOOZE_LOG_DEBUG; level++) {
      snooze_logf(self->host, level, "%s: cannot reach '%s', refused", when, self->secrets[i]);
    }
  }
}

/* Every secret in one text, as an author's careless error message has it. */
static snooze_status fail_with_all(const struct talker *self, snooze_status code, const char *when)
{
  char text[4096];
  snooze_json all = {text, sizeof text, 0};
  snooze_json_raw(&all, when);
  for (size_t i = 0; i < KEY_COUNT; i++) {
    snooze_json_raw(&all, " with ");
    snooze_json_raw(&all, self->secrets[i]);
  }
  return self->host->report_error(self->host, code, snooze_str_of(text, all.length));
}

static void result_of_all(const struct talker *self, const snooze_call *call)
{
  char text[8192];
  snooze_json all = {text, sizeof text, 0};
  snooze_json_raw(&all, "{\"action\":\"told\",\"config\":");
  snooze_json_raw(&all, self->config);
  snooze_json_raw(&all, ",\"text\":");
  snooze_json_string(&all, snooze_str_from(self->config));
  snooze_json_raw(&all, "}");
  snooze_set_result(self->host, call, snooze_str_of(text, all.length));
}

static snooze_status on_event(const snooze_plugin *plugin, const snooze_event *event, const snooze_call *call)
{
  const struct talker *self = plugin->ctx;
  tell_all(self, "event");
  snooze_progress(self->host, call, 500, snooze_str_from(self->secrets[0]));
  result_of_all(self, call);
  if (snooze_str_eq(snooze_event_text(self->host, event, SNOOZE_FIELD_TYPE), SNOOZE_STR("custom.fails"))) {
    return fail_with_all(self, SNOOZE_E_IO, "event");
  }
  return SNOOZE_OK;
}

static snooze_status verify(const snooze_plugin *plugin, const snooze_event *event, const snooze_call *call)
{
  (void)event;
  tell_all(plugin->ctx, "verify");
  result_of_all(plugin->ctx, call);
  return fail_with_all(plugin->ctx, SNOOZE_E_NOT_FOUND, "verify");
}

static snooze_status activate(const snooze_plugin *plugin)
{
  const struct talker *self = plugin->ctx;
  tell_all(self, "activate");
  return strcmp(self->refuse, "activate") == 0 ? fail_with_all(self, SNOOZE_E_IO, "activate") : SNOOZE_OK;
}

static void warm_up(const snooze_plugin *plugin) { tell_all(plugin->ctx, "warm_up"); }
static void deactivate(const snooze_plugin *plugin) { tell_all(plugin->ctx, "deactivate"); }

static void destroy(const snooze_plugin *plugin)
{
  tell_all(plugin->ctx, "destroy");
  free(plugin->ctx);
}

/* The line that is cut in the middle of a secret: the pad and the secret are longer than a line may be. */
static void tell_cut(const struct talker *self, snooze_str config)
{
  char line[2048], pad[1024];
  if (snooze_json_text(config, "pad", pad, sizeof pad) == SNOOZE_OK) {
    snprintf(line, sizeof line, "%s%s", pad, self->secrets[0]);
    snooze_log(self->host, SNOOZE_LOG_ERROR, snooze_str_from(line));
  }
}

static void keep_journal(const struct talker *self, snooze_str config)
{
  char path[4096];
  FILE *file = NULL;
  if (snooze_json_text(config, "journal", path, sizeof path) == SNOOZE_OK && (file = fopen(path, "a")) != NULL) {
    fprintf(file, "%s\n", self->config);
    fclose(file);
  }
}

static snooze_status create(const snooze_host *host, const snooze_create_args *args, const snooze_plugin **out)
{
  struct talker *self = calloc(1, sizeof *self);
  if (self == NULL || args->config.len >= sizeof self->config) {
    free(self);
    return SNOOZE_E_NO_MEMORY;
  }
  self->host = host;
  self->table = (snooze_plugin){.struct_size = sizeof self->table, .ctx = self, .activate = activate, .warm_up = warm_up,
                                .on_event = on_event, .deactivate = deactivate, .destroy = destroy, .verify = verify};
  memcpy(self->config, args->config.ptr, args->config.len);
  for (size_t i = 0; i < KEY_COUNT; i++) {
    if (snooze_json_text(args->config, KEYS[i], self->secrets[i], sizeof self->secrets[i]) != SNOOZE_OK) {
      self->secrets[i][0] = '\0';
    }
  }
  if (snooze_json_text(args->config, "refuse", self->refuse, sizeof self->refuse) != SNOOZE_OK) {
    self->refuse[0] = '\0';
  }
  keep_journal(self, args->config);
  tell_all(self, "create");
  tell_cut(self, args->config);
  if (strcmp(self->refuse, "create") == 0) {
    snooze_status status = fail_with_all(self, SNOOZE_E_IO, "create");
    free(self);
    return status;
  }
  *out = &self->table;
  return SNOOZE_OK;
}

static const snooze_class TALKER = {
    sizeof(snooze_class), 0, 0, "org.cloudsnooze.test.talker", "talker", "1.0.0", "Tells everything it knows", NULL, create};

SNOOZE_EXPORT("The CloudSnooze authors", "Apache-2.0", "", &TALKER);
