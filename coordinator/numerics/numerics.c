// See numerics.h.
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/cache_file.h"
#include "common/base/log.h"
#include "common/base/strings.h"
#include "coordinator/numerics/internal.h"

struct numerics *numerics_create(void)
{
	return calloc(1, sizeof(struct numerics));
}

static bool open_path(char *path, bool is_named, struct numerics **ret_numerics, struct error *error)
{
	struct numerics *numerics = path != NULL ? numerics_create() : NULL;
	if (numerics == NULL) {
		free(path);
		return error_set(error, ERROR_FAILED, "out of memory");
	}
	numerics->path = path;
	numerics->is_named = is_named;
	if (!numerics_read_file(numerics, error)) {
		numerics_close(numerics);
		return false;
	}
	*ret_numerics = numerics;
	return true;
}

bool numerics_open_file(const char *path, struct numerics **ret_numerics, struct error *error)
{
	return open_path(strdup(path), true, ret_numerics, error);
}

bool numerics_open_cache(struct numerics **ret_numerics, struct error *error)
{
	char *path = cache_file_path("numerics");
	struct error why;
	if (path != NULL && open_path(path, false, ret_numerics, &why)) {
		const struct numerics *numerics = *ret_numerics;
		if (numerics->wrong_lines > 0)
			log_warning("%u lines of %s are ignored; the first one: %s", numerics->wrong_lines,
				    numerics->path, numerics->first_wrong);
		return true;
	}
	log_warning("%s%sthe choice of kernels is kept for this command only; --numerics FILE keeps it in a file",
		    path != NULL ? why.message : "no cache folder was found", ": ");
	*ret_numerics = numerics_create();
	return *ret_numerics != NULL || error_set(error, ERROR_FAILED, "out of memory");
}

void numerics_close(struct numerics *numerics)
{
	if (numerics == NULL)
		return;
	for (uint32_t i = 0; i < numerics->count; i++)
		free(numerics->answers[i]);
	free(numerics->answers);
	free(numerics->path);
	free(numerics);
}

const char *numerics_path(const struct numerics *numerics)
{
	return numerics->path;
}

bool numerics_is_named(const struct numerics *numerics)
{
	return numerics->is_named;
}

uint32_t numerics_count(const struct numerics *numerics)
{
	return numerics->count;
}

const struct numerics_answer *numerics_find(const struct numerics *numerics, const char *machine, const char *question)
{
	for (uint32_t i = numerics->count; i-- > 0;)
		if (strcmp(numerics->answers[i]->question, question) == 0 &&
		    strcmp(numerics->answers[i]->machine, machine) == 0)
			return numerics->answers[i];
	return NULL;
}

// An answer with its texts behind it.
static struct numerics_answer *copy_of(const struct numerics_answer *answer)
{
	size_t bytes = strlen(answer->machine) + strlen(answer->question) + 2;
	for (uint32_t i = 0; i < answer->count; i++)
		bytes += strlen(answer->names[i]) + 1;
	struct numerics_answer *copy = malloc(sizeof(*copy) + bytes);
	if (copy == NULL)
		return NULL;
	*copy = *answer;
	char *end = (char *)(copy + 1);
	copy->machine = end;
	end = stpcpy(end, answer->machine) + 1;
	copy->question = end;
	end = stpcpy(end, answer->question) + 1;
	for (uint32_t i = 0; i < answer->count; i++) {
		copy->names[i] = end;
		end = stpcpy(end, answer->names[i]) + 1;
	}
	return copy;
}

const struct numerics_answer *numerics_keep(struct numerics *numerics, const struct numerics_answer *answer)
{
	if (numerics->count == numerics->capacity) {
		uint32_t capacity = numerics->capacity == 0 ? 64 : 2 * numerics->capacity;
		struct numerics_answer **grown =
			realloc(numerics->answers, capacity * sizeof(struct numerics_answer *));
		if (grown == NULL)
			return NULL;
		numerics->answers = grown;
		numerics->capacity = capacity;
	}
	struct numerics_answer *copy = copy_of(answer);
	if (copy != NULL)
		numerics->answers[numerics->count++] = copy;
	return copy;
}

bool numerics_add(struct numerics *numerics, const struct numerics_answer *answer,
		  const struct numerics_answer *refused, const struct numerics_answer **ret_answer, struct error *error)
{
	struct error why;
	if (numerics->path != NULL && !numerics_append(numerics, answer, refused, &why)) {
		if (numerics->is_named)
			return error_set(error, why.code, "--numerics: %s", why.message);
		log_warning("%s; later choices of kernels are kept for this command only", why.message);
		free(steal_pointer(numerics->path));
	}
	const struct numerics_answer *now = numerics_find(numerics, answer->machine, answer->question);
	*ret_answer = now != refused ? now : numerics_keep(numerics, answer);
	return *ret_answer != NULL || error_set(error, ERROR_FAILED, "out of memory");
}

uint32_t numerics_fastest(uint32_t count, const uint64_t *ns)
{
	uint32_t best = count;
	for (uint32_t i = 0; i < count; i++)
		if (ns[i] != NUMERICS_UNUSABLE && (best == count || (double)ns[i] * 1.02 < (double)ns[best]))
			best = i;
	return best;
}

bool numerics_is_text(const char *text)
{
	size_t length = 0;
	while (text[length] != '\0' && isascii(text[length]) && isgraph((unsigned char)text[length]))
		length++;
	return text[length] == '\0' && length > 0 && length < NUMERICS_TEXT_SIZE;
}
