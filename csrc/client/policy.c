/* client/policy.c - the policies that hold in this process, and what they say of a request. All of
 * them have to allow it. */
#include "client/policy.h"

#include "base/error.h"
#include "base/format.h"
#include "client/client.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_LIMIT   (1l << 16)
#define POLICY_LIMIT 3 /* the system's, the environment's, the configured one */

struct policies {
  struct mm__policy *list[POLICY_LIMIT];
  uint32_t count;
};

/* Whole at every moment: a process may be forked while another thread has the lock. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of what follows */
static struct policies sets[2];                          /* one is in force, the other empty */
static struct policies *in_force = &sets[0];
static uint8_t *forbidden; /* by export, of the last request */

void mm__policies_forked(void) { pthread_mutex_init(&lock, NULL); }

bool mm__pattern_fits(const char *pattern, const char *text) {
  const char *star = NULL, *rest = NULL;
  for (;;) {
    if (*pattern == '*') {
      star = ++pattern, rest = text;
    } else if (*text && (*pattern == *text || (*pattern == '?' && *text != '/'))) {
      pattern++, text++;
    } else if (!*text && !*pattern) {
      return true;
    } else if (star && *rest && *rest != '/') { /* the last star takes one more */
      pattern = star, text = ++rest;
    } else {
      return false;
    }
  }
}

static bool fits_one(char **patterns, const char *text) {
  for (; *patterns; patterns++)
    if (mm__pattern_fits(*patterns, text)) return true;
  return false;
}

/* "/usr/lib/" means all that lies beneath it. */
static bool beneath(const char *folder, const char *path) {
  size_t length = strlen(folder);
  if (strncmp(folder, path, length) != 0) return false;
  return folder[length - 1] == '/' || path[length] == '/' || path[length] == 0;
}

static const struct mm__rule *find_rule(const struct mm__policy *policy, const char *path) {
  for (uint32_t i = 0; i < policy->rule_count; i++)
    for (char **image = policy->rules[i].images; *image; image++)
      if ((*image)[strlen(*image) - 1] == '/' ? beneath(*image, path)
                                              : mm__pattern_fits(*image, path))
        return &policy->rules[i];
  return NULL;
}

/* --- grants --- */

static bool folder_allowed(const struct mm__rule *rule, const struct mm_grant_files *files) {
  char **lists[] = {rule->write, files->access & MM_FILES_WRITE ? NULL : rule->read};
  char wanted[PATH_MAX], allowed[PATH_MAX];
  if (!realpath(files->folder, wanted)) return true; /* what is not there is told by who opens it */
  for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
    for (char **folder = lists[i]; folder && *folder; folder++)
      if (realpath(*folder, allowed) && beneath(allowed, wanted)) return true;
  return false;
}

/* A folder comes by each of its names; one is enough for a message. */
static bool told(const struct mm_map_options *options, uint32_t i) {
  char name[PATH_MAX], before[PATH_MAX];
  return i && realpath(options->files[i].folder, name) &&
         realpath(options->files[i - 1].folder, before) && strcmp(name, before) == 0;
}

static int judge_grants(const struct mm__rule *rule, const struct mm__request *request,
                        const char *place, struct mm_error *error) {
  static const struct {
    uint32_t grant;
    const char *name;
  } names[] = {{MM_GRANT_OUTPUT, "output"},
               {MM_GRANT_SOCKETS, "sockets"},
               {MM_GRANT_JIT, "jit"},
               {MM_GRANT_EVERYTHING, "everything"}};
  const struct mm_map_options *options = request->options;
  char text[300], room[MM__BRIEF_BYTES];
  size_t length = 0;
  if (rule->grants & MM_GRANT_EVERYTHING) return MM_OK;
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (options->grants & ~rule->grants & names[i].grant)
      length += mm__format(text + length, sizeof text - length, "%s%s", length ? ", " : "",
                           names[i].name);
  for (uint32_t i = 0; i < options->file_count; i++)
    if (!folder_allowed(rule, &options->files[i]) && !told(options, i))
      length += mm__format(text + length, sizeof text - length, "%s%s %s", length ? ", " : "",
                           options->files[i].access & MM_FILES_WRITE ? "write" : "read",
                           mm__brief(options->files[i].folder, room));
  if (!length) return MM_OK;
  return mm__fail(error, MM_ERROR_POLICY, "%s: %s does not allow to grant it: %s", request->name,
                  place, text);
}

/* --- limits --- */

static void lower(uint64_t *limit, uint64_t other) {
  if (other && (!*limit || other < *limit)) *limit = other;
}

static void lower_all(struct mm__permission *permission, const struct mm__limits *limits) {
  lower(&permission->images, limits->images);
  lower(&permission->image_bytes, limits->image_bytes);
  lower(&permission->exports, limits->exports);
  lower(&permission->memory_bytes, limits->memory_bytes);
  lower(&permission->timeout_ns, limits->timeout_ns);
}

/* What a client asks for expressly is refused rather than cut down. */
static int judge_wishes(const struct mm__permission *permission, const struct mm__request *request,
                        struct mm_error *error) {
  const struct mm_map_options *options = request->options;
  if (permission->memory_bytes && options->memory_bytes > permission->memory_bytes)
    return mm__fail(error, MM_ERROR_LIMIT, "%s: may take %lu bytes of memory by %s, not %lu",
                    request->name, permission->memory_bytes, permission->rule,
                    options->memory_bytes);
  if (permission->timeout_ns && options->timeout_ns > permission->timeout_ns)
    return mm__fail(error, MM_ERROR_LIMIT, "%s: its calls may take %lu ms by %s, not %lu",
                    request->name, permission->timeout_ns / 1000000, permission->rule,
                    options->timeout_ns / 1000000);
  return MM_OK;
}

/* --- the whole --- */

static void forbid_exports(const struct mm__rule *rule, const struct mm__head *head,
                           uint8_t *exports) {
  for (uint32_t i = 0; rule->exports && i < head->registry.export_count; i++)
    if (!fits_one(rule->exports, head->registry.strings + head->registry.exports[i].name))
      exports[i] = 1;
}

int mm__policy_judge(const struct mm__policy *policy, const char *path,
                     const struct mm__request *request, struct mm__permission *permission,
                     struct mm_error *error) {
  const struct mm__rule *rule = find_rule(policy, path);
  if (!rule)
    return mm__fail(error, MM_ERROR_POLICY, "%s: %s has no rule by which user %u may map it",
                    request->name, policy->name, (unsigned)geteuid());
  snprintf(permission->rule, sizeof permission->rule, "%.*s:%u", MM__RULE_BYTES - 16, policy->name,
           rule->line);
  if (rule->forbids)
    return mm__fail(error, MM_ERROR_POLICY, "%s: %s forbids to map it: %s", request->name,
                    permission->rule, rule->forbids);
  int status = judge_grants(rule, request, permission->rule, error);
  if (status != MM_OK) return status;
  lower_all(permission, &policy->limits);
  lower_all(permission, &rule->limits);
  forbid_exports(rule, request->head, (uint8_t *)permission->forbidden);
  return judge_wishes(permission, request, error);
}

/* The image's path without links, from the file that is open: nobody exchanges it any more. */
static int real_path(const struct mm__request *request, char *path, struct mm_error *error) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", request->file);
  ssize_t length = readlink(link, path, PATH_MAX - 1);
  if (length < 0)
    return mm__fail_system(error, MM_ERROR_POLICY, errno,
                           "%s: the policy cannot be asked, without /proc", request->name);
  path[length] = 0;
  return MM_OK;
}

static int judge(const struct mm__request *request, struct mm__permission *permission,
                 struct mm_error *error) {
  char path[PATH_MAX];
  int status = real_path(request, path, error);
  if (status != MM_OK) return status;
  pthread_mutex_lock(&lock);
  uint8_t *before = forbidden;
  permission->forbidden = forbidden = calloc(request->head->registry.export_count + 1ul, 1);
  free(before);
  if (!forbidden) status = mm__fail(error, MM_ERROR_MEMORY, "%s: out of memory", request->name);
  for (uint32_t i = 0; i < in_force->count && status == MM_OK; i++)
    status = mm__policy_judge(in_force->list[i], path, request, permission, error);
  pthread_mutex_unlock(&lock);
  return status;
}

mm__judge_function *mm__policies_judge(void) { return in_force->count ? judge : NULL; }

/* --- loading --- */

static bool in_group(gid_t group) {
  int count = getgroups(0, NULL);
  gid_t *groups = calloc((size_t)count + 1, sizeof *groups);
  bool found = getegid() == group;
  count = groups ? getgroups(count, groups) : 0;
  for (int i = 0; i < count && !found; i++) found = groups[i] == group;
  free(groups);
  return found;
}

/* A name, a number, or "@group". */
static bool is_me(const char *user) {
  char *end;
  if (user[0] == '@') {
    const struct group *group = getgrnam(user + 1);
    return group && in_group(group->gr_gid);
  }
  unsigned long number = strtoul(user, &end, 10);
  if (user[0] >= '0' && user[0] <= '9' && !*end) return number == geteuid();
  const struct passwd *entry = getpwnam(user);
  return entry && entry->pw_uid == geteuid();
}

/* The rules of other users are as if they were not there: they name no image. */
static void drop_others(struct mm__policy *policy) {
  for (uint32_t i = 0; i < policy->rule_count; i++) {
    bool mine = !policy->rules[i].users;
    for (char **user = policy->rules[i].users; user && *user && !mine; user++) mine = is_me(*user);
    for (char **image = policy->rules[i].images; !mine && *image; image++) {
      free(*image);
      *image = NULL;
    }
  }
}

static int believable(const struct stat *facts, const char *name, struct mm_error *error) {
  const char *why = NULL;
  if (!S_ISREG(facts->st_mode))
    why = "it is no regular file";
  else if (facts->st_uid != 0 && facts->st_uid != geteuid())
    why = "it belongs to another user";
  else if (facts->st_mode & S_IWOTH)
    why = "everyone may write to it";
  else if (facts->st_size > FILE_LIMIT)
    why = "it is larger than 64 KiB";
  return why ? mm__fail(error, MM_ERROR_POLICY, "%s cannot be the policy: %s", name, why) : MM_OK;
}

static int unreadable(const char *name, struct mm_error *error) {
  char room[MM__BRIEF_BYTES];
  return mm__fail_system(error, MM_ERROR_POLICY, errno, "%s cannot be the policy",
                         mm__brief(name, room));
}

static int read_file(int file, const char *name, struct mm__policy **policy,
                     struct mm_error *error) {
  struct stat facts;
  if (fstat(file, &facts) != 0) return unreadable(name, error);
  int status = believable(&facts, name, error);
  if (status != MM_OK) return status;
  size_t size = (size_t)facts.st_size;
  char *text = malloc(size + 1);
  if (!text) return mm__fail(error, MM_ERROR_MEMORY, "%s: out of memory", name);
  ssize_t got = pread(file, text, size, 0);
  status =
      got < 0 ? unreadable(name, error) : mm__policy_parse(text, (size_t)got, name, policy, error);
  free(text);
  return status;
}

/* Adds a policy to those `loaded`. A file that is only looked for may be missing. */
static int load(const char *name, bool only_if_there, struct policies *loaded,
                struct mm_error *error) {
  if (!name || !*name) return MM_OK;
  int file = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (file < 0)
    return only_if_there && (errno == ENOENT || errno == ENOTDIR) ? MM_OK : unreadable(name, error);
  int status = read_file(file, name, &loaded->list[loaded->count], error);
  close(file);
  if (status != MM_OK || !loaded->list[loaded->count]) return status;
  drop_others(loaded->list[loaded->count++]);
  return MM_OK;
}

static void exchange(const struct policies *loaded) {
  pthread_mutex_lock(&lock);
  struct policies *before = in_force, *other = &sets[before == &sets[0]];
  *other = *loaded;
  __atomic_store_n(&in_force, other, __ATOMIC_RELEASE);
  while (before->count) mm__policy_free(before->list[--before->count]);
  pthread_mutex_unlock(&lock);
}

int mm__policies_load(const char *configured, struct mm_error *error) {
  struct policies loaded = {0};
  int status = load(MM_SYSTEM_POLICY, true, &loaded, error);
  if (status == MM_OK) status = load(getenv("MATCHMAKER_POLICY"), false, &loaded, error);
  if (status == MM_OK) status = load(configured, false, &loaded, error);
  if (status == MM_OK)
    exchange(&loaded);
  else
    while (loaded.count) mm__policy_free(loaded.list[--loaded.count]);
  return status;
}
