/* client/policy_text.c - reads the text of a policy: YAML, with a fixed shape in which nothing is
 * ignored. docs/policy.md describes it. */
#include "base/error.h"
#include "base/format.h"
#include "client/policy.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#define DEPTH_LIMIT 8

struct reading {
  yaml_document_t document;
  const char *name;
  struct mm__policy *policy;
  struct mm_error *error;
};

/* One key of a mapping. */
struct entry {
  const char *key;
  yaml_node_t *node;
};

typedef int read_entry(struct reading *reading, const struct entry *entry, void *into);

static int wrong(const struct reading *reading, const yaml_node_t *node, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int wrong(const struct reading *reading, const yaml_node_t *node, const char *format, ...) {
  char text[400];
  va_list list;
  va_start(list, format);
  vsnprintf(text, sizeof text, format, list);
  va_end(list);
  return mm__fail(reading->error, MM_ERROR_POLICY, "%s:%zu: %s", reading->name,
                  node->start_mark.line + 1, text);
}

static int no_memory(const struct reading *reading) {
  return mm__fail(reading->error, MM_ERROR_MEMORY, "%s: out of memory", reading->name);
}

/* NULL: it is none, or holds a NUL. */
static const char *scalar(const yaml_node_t *node) {
  if (!node || node->type != YAML_SCALAR_NODE) return NULL;
  const char *text = (const char *)node->data.scalar.value;
  return strlen(text) == node->data.scalar.length ? text : NULL;
}

static int read_mapping(struct reading *reading, const yaml_node_t *node, const char *what,
                        read_entry *read, void *into) {
  if (node->type != YAML_MAPPING_NODE)
    return wrong(reading, node, "%s is written as `key: value` lines", what);
  int status = MM_OK;
  const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
  for (; pair < node->data.mapping.pairs.top && status == MM_OK; pair++) {
    const yaml_node_t *key = yaml_document_get_node(&reading->document, pair->key);
    struct entry entry = {scalar(key), yaml_document_get_node(&reading->document, pair->value)};
    if (!entry.key) return wrong(reading, node, "a key of %s is no word", what);
    for (const yaml_node_pair_t *other = node->data.mapping.pairs.start; other < pair; other++) {
      const char *word = scalar(yaml_document_get_node(&reading->document, other->key));
      if (word && strcmp(word, entry.key) == 0)
        return wrong(reading, key, "`%s` comes twice", entry.key);
    }
    status = read(reading, &entry, into);
  }
  return status;
}

static bool is(const struct entry *entry, const char *key) { return strcmp(entry->key, key) == 0; }

static int unknown(const struct reading *reading, const struct entry *entry, const char *known) {
  return wrong(reading, entry->node, "there is no `%.60s` here, only %s", entry->key, known);
}

/* A word or a list of words, copied, with a NULL at the end. */
static int read_words(struct reading *reading, const struct entry *entry, char ***words) {
  const yaml_node_t *node = entry->node;
  bool single = node->type == YAML_SCALAR_NODE;
  if (!single && node->type != YAML_SEQUENCE_NODE)
    return wrong(reading, node, "`%s` is a word or a list of words", entry->key);
  const yaml_node_item_t *items = single ? NULL : node->data.sequence.items.start;
  size_t count = single ? 1 : (size_t)(node->data.sequence.items.top - items);
  *words = calloc(count + 1, sizeof **words);
  if (!*words) return no_memory(reading);
  for (size_t i = 0; i < count; i++) {
    const yaml_node_t *item = single ? node : yaml_document_get_node(&reading->document, items[i]);
    const char *word = scalar(item);
    if (!word || !*word)
      return wrong(reading, item ? item : node, "`%s` is a word or a list of words", entry->key);
    (*words)[i] = strdup(word);
    if (!(*words)[i]) return no_memory(reading);
  }
  return MM_OK;
}

static int read_paths(struct reading *reading, const struct entry *entry, char ***paths) {
  int status = read_words(reading, entry, paths);
  for (char **path = *paths; status == MM_OK && path && *path; path++)
    if ((*path)[0] != '/')
      return wrong(reading, entry->node, "`%s` holds absolute paths, not \"%.100s\"", entry->key,
                   *path);
  return status;
}

/* Whether a file may have this path: realpath(3) leaves no such parts, and a rule that names no
 * image would be silently without effect. */
static bool is_plain(const char *path) {
  for (const char *slash = path; slash; slash = strchr(slash + 1, '/')) {
    size_t length = strcspn(slash + 1, "/");
    bool last = slash[1 + length] == 0;
    if (length == 0 && !last) return false;
    if (length == 1 && slash[1] == '.') return false;
    if (length == 2 && slash[1] == '.' && slash[2] == '.') return false;
  }
  return true;
}

static int read_images(struct reading *reading, const struct entry *entry, char ***images) {
  int status = read_paths(reading, entry, images);
  for (char **image = *images; status == MM_OK && image && *image; image++)
    if (!is_plain(*image))
      return wrong(reading, entry->node,
                   "`%s` holds paths without `//`, `.` and `..`, not \"%.100s\"", entry->key,
                   *image);
  return status;
}

struct unit {
  const char *text;
  uint64_t value;
};
static const struct unit counts[] = {{"", 1}, {NULL, 0}};
static const struct unit sizes[] = {{"", 1},          {"K", 1ul << 10}, {"M", 1ul << 20},
                                    {"G", 1ul << 30}, {"T", 1ul << 40}, {NULL, 0}};
static const struct unit times[] = {{"s", 1000000000ul}, {"ms", 1000000ul}, {NULL, 0}};

static int read_number(struct reading *reading, const struct entry *entry, const struct unit *units,
                       const char *example, uint64_t *number) {
  const char *text = scalar(entry->node), *at = text;
  uint64_t value = 0;
  for (; at && *at >= '0' && *at <= '9' && value < UINT32_MAX; at++)
    value = value * 10 + (uint64_t)(*at - '0');
  for (const struct unit *unit = units; at && at > text && unit->text; unit++) {
    if (strcmp(at, unit->text) != 0) continue;
    if (value == 0 || __builtin_mul_overflow(value, unit->value, number)) break;
    return MM_OK;
  }
  return wrong(reading, entry->node, "`%s` is a whole number above 0, as in `%s: %s`", entry->key,
               entry->key, example);
}

static int read_limit(struct reading *reading, const struct entry *entry, void *into) {
  struct mm__limits *limits = into;
  bool top = limits == &reading->policy->limits;
  if (top && is(entry, "images")) return read_number(reading, entry, counts, "16", &limits->images);
  if (is(entry, "image_bytes"))
    return read_number(reading, entry, sizes, "4G", &limits->image_bytes);
  if (is(entry, "exports")) return read_number(reading, entry, counts, "100", &limits->exports);
  if (is(entry, "memory")) return read_number(reading, entry, sizes, "256M", &limits->memory_bytes);
  if (is(entry, "timeout")) return read_number(reading, entry, times, "500ms", &limits->timeout_ns);
  return unknown(reading, entry,
                 top ? "images, image_bytes, exports, memory and timeout"
                     : "image_bytes, exports, memory and timeout");
}

static int read_grants(struct reading *reading, const struct entry *entry, uint32_t *grants) {
  static const struct {
    const char *word;
    uint32_t grant;
  } known[] = {{"output", MM_GRANT_OUTPUT},
               {"sockets", MM_GRANT_SOCKETS},
               {"jit", MM_GRANT_JIT},
               {"everything", MM_GRANT_EVERYTHING}};
  char **words = NULL;
  int status = read_words(reading, entry, &words);
  for (char **word = words; status == MM_OK && word && *word; word++) {
    uint32_t grant = 0;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
      if (strcmp(known[i].word, *word) == 0) grant = known[i].grant;
    *grants |= grant;
    if (!grant)
      status =
          wrong(reading, entry->node,
                "there is no grant \"%.60s\", only output, sockets, jit and everything", *word);
  }
  for (char **word = words; word && *word; word++) free(*word);
  free(words);
  return status;
}

static int read_rule_entry(struct reading *reading, const struct entry *entry, void *into) {
  struct mm__rule *rule = into;
  if (is(entry, "users")) return read_words(reading, entry, &rule->users);
  if (is(entry, "images")) return read_images(reading, entry, &rule->images);
  if (is(entry, "exports")) return read_words(reading, entry, &rule->exports);
  if (is(entry, "grants")) return read_grants(reading, entry, &rule->grants);
  if (is(entry, "read")) return read_paths(reading, entry, &rule->read);
  if (is(entry, "write")) return read_paths(reading, entry, &rule->write);
  if (is(entry, "limits"))
    return read_mapping(reading, entry->node, "`limits`", read_limit, &rule->limits);
  if (!is(entry, "forbid"))
    return unknown(reading, entry,
                   "users, images, exports, grants, read, write, limits and forbid");
  const char *why = scalar(entry->node);
  if (!why || !*why || strlen(why) > 200 || strpbrk(why, "\r\n"))
    return wrong(reading, entry->node, "`forbid` says why, in a few words");
  rule->forbids = strdup(why);
  return rule->forbids ? MM_OK : no_memory(reading);
}

static int read_rules(struct reading *reading, const yaml_node_t *node) {
  struct mm__policy *policy = reading->policy;
  if (node->type != YAML_SEQUENCE_NODE)
    return wrong(reading, node, "`rules` is a list, each of whose items begins with a dash");
  const yaml_node_item_t *items = node->data.sequence.items.start;
  size_t count = (size_t)(node->data.sequence.items.top - items);
  policy->rules = calloc(count + 1, sizeof *policy->rules);
  if (!policy->rules) return no_memory(reading);
  for (size_t i = 0; i < count; i++) {
    struct mm__rule *rule = &policy->rules[policy->rule_count++];
    const yaml_node_t *item = yaml_document_get_node(&reading->document, items[i]);
    rule->line = (uint32_t)item->start_mark.line + 1;
    int status = read_mapping(reading, item, "a rule", read_rule_entry, rule);
    if (status != MM_OK) return status;
    if (!rule->images) return wrong(reading, item, "a rule names `images`");
  }
  return MM_OK;
}

static int read_top(struct reading *reading, const struct entry *entry, void *into) {
  struct mm__policy *policy = into;
  if (is(entry, "limits"))
    return read_mapping(reading, entry->node, "`limits`", read_limit, &policy->limits);
  if (is(entry, "rules")) return read_rules(reading, entry->node);
  return unknown(reading, entry, "limits and rules");
}

static int read_document(struct reading *reading) {
  const yaml_node_t *root = yaml_document_get_root_node(&reading->document);
  if (!root)
    return mm__fail(reading->error, MM_ERROR_POLICY, "%s: says nothing: it has no `rules`",
                    reading->name);
  int status = read_mapping(reading, root, "a policy", read_top, reading->policy);
  if (status == MM_OK && !reading->policy->rules)
    return wrong(reading, root, "a policy has `rules`");
  return status;
}

static int not_yaml(const struct reading *reading, const yaml_parser_t *parser) {
  if (parser->error == YAML_MEMORY_ERROR) return no_memory(reading);
  return mm__fail(reading->error, MM_ERROR_POLICY, "%s:%zu: %s", reading->name,
                  parser->problem_mark.line + 1, parser->problem ? parser->problem : "is no YAML");
}

/* Deep nonsense would take libyaml the square of its depth, so that is looked at first. What is no
 * YAML is told by who loads it. */
static int check_depth(const struct reading *reading, const char *text, size_t bytes) {
  yaml_parser_t parser;
  yaml_event_t event;
  uint32_t depth = 0;
  size_t line = 0;
  if (!yaml_parser_initialize(&parser)) return no_memory(reading);
  yaml_parser_set_input_string(&parser, (const unsigned char *)text, bytes);
  for (bool more = true; more && depth <= DEPTH_LIMIT && yaml_parser_parse(&parser, &event);) {
    bool starts = event.type == YAML_SEQUENCE_START_EVENT || event.type == YAML_MAPPING_START_EVENT;
    bool ends = event.type == YAML_SEQUENCE_END_EVENT || event.type == YAML_MAPPING_END_EVENT;
    depth += starts;
    depth -= ends;
    more = event.type != YAML_STREAM_END_EVENT;
    line = event.start_mark.line + 1;
    yaml_event_delete(&event);
  }
  yaml_parser_delete(&parser);
  if (depth <= DEPTH_LIMIT) return MM_OK;
  return mm__fail(reading->error, MM_ERROR_POLICY, "%s:%zu: nothing in a policy lies so deep",
                  reading->name, line);
}

static int load(struct reading *reading, yaml_parser_t *parser) {
  if (!yaml_parser_load(parser, &reading->document)) return not_yaml(reading, parser);
  int status = read_document(reading);
  yaml_document_delete(&reading->document);
  return status;
}

/* What follows the first document would be silently without effect. */
static int check_end(const struct reading *reading, yaml_parser_t *parser) {
  yaml_document_t next;
  int status = MM_OK;
  if (parser->stream_end_produced) return MM_OK;
  if (!yaml_parser_load(parser, &next)) return not_yaml(reading, parser);
  const yaml_node_t *root = yaml_document_get_root_node(&next);
  if (root) status = wrong(reading, root, "a policy is one document");
  yaml_document_delete(&next);
  return status;
}

int mm__policy_parse(const char *text, size_t bytes, const char *name, struct mm__policy **policy,
                     struct mm_error *error) {
  char room[MM__BRIEF_BYTES];
  struct reading reading = {.name = mm__brief(name, room), .error = error};
  yaml_parser_t parser;
  reading.policy = calloc(1, sizeof *reading.policy);
  if (!reading.policy || !(reading.policy->name = strdup(reading.name))) {
    mm__policy_free(reading.policy);
    return no_memory(&reading);
  }
  int status = check_depth(&reading, text, bytes);
  if (status == MM_OK && !yaml_parser_initialize(&parser)) status = no_memory(&reading);
  if (status != MM_OK) {
    mm__policy_free(reading.policy);
    return status;
  }
  yaml_parser_set_input_string(&parser, (const unsigned char *)text, bytes);
  status = load(&reading, &parser);
  if (status == MM_OK) status = check_end(&reading, &parser);
  yaml_parser_delete(&parser);
  if (status == MM_OK)
    *policy = reading.policy;
  else
    mm__policy_free(reading.policy);
  return status;
}

static void free_words(char **words) {
  for (char **word = words; word && *word; word++) free(*word);
  free(words);
}

void mm__policy_free(struct mm__policy *policy) {
  if (!policy) return;
  for (uint32_t i = 0; i < policy->rule_count; i++) {
    struct mm__rule *rule = &policy->rules[i];
    free_words(rule->users);
    free_words(rule->images);
    free_words(rule->exports);
    free_words(rule->read);
    free_words(rule->write);
    free(rule->forbids);
  }
  free(policy->rules);
  free(policy->name);
  free(policy);
}
