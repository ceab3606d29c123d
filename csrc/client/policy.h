/* client/policy.h - policy files: who may map which images, call which of their exports, grant what,
 * within which limits.
 * Owns:    the policies that hold in this process, until others are loaded.
 * Threads: any; what holds changes under a lock.
 * Signals: not for handlers.
 * Errors:  MM_ERROR_POLICY, with file and line, for what is wrong in a file and for what it forbids;
 *          MM_ERROR_LIMIT for what it limits. */
#ifndef MM_CLIENT_POLICY_H
#define MM_CLIENT_POLICY_H

#include "core/interface.h"

/* Zero: not limited. */
struct mm__limits {
  uint64_t images, image_bytes, exports, memory_bytes, timeout_ns;
};

/* Lists end with NULL; a list that is NULL was not given. */
struct mm__rule {
  uint32_t line;
  char **users, **images, **exports, **read, **write;
  char *forbids;   /* why nothing is allowed; NULL: it is */
  uint32_t grants; /* bits of enum mm_grant */
  struct mm__limits limits;
};

struct mm__policy {
  char *name; /* of the file */
  struct mm__limits limits;
  struct mm__rule *rules;
  uint32_t rule_count;
};

/* --- policy_text.c --- */

/* Reads a policy from memory; `name` is for messages. Whatever the text is, it gives a policy, the
 * caller's to free, or an error. */
int mm__policy_parse(const char *text, size_t bytes, const char *name, struct mm__policy **policy,
                     struct mm_error *error);
void mm__policy_free(struct mm__policy *policy);

/* --- policy.c --- */

/* Whether `text` is what the pattern describes: `*` is any number of characters but slashes, `?` is
 * one. */
bool mm__pattern_fits(const char *pattern, const char *text);

/* What the policy says of a request; `path` is the image's, without links. */
int mm__policy_judge(const struct mm__policy *policy, const char *path,
                     const struct mm__request *request, struct mm__permission *permission,
                     struct mm_error *error);

/* Loads the files that hold from now on: the system's, if it is there, and those that
 * MATCHMAKER_POLICY and `configured` name. When one of them cannot be believed, those of before
 * stay. */
int mm__policies_load(const char *configured, struct mm_error *error);
/* The Matchmaker's way here: what all of them say. NULL: there are none. */
mm__judge_function *mm__policies_judge(void);
/* In a forked child: no thread holds their lock. */
void mm__policies_forked(void);

#endif
