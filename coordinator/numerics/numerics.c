// See numerics.h.
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
	struct numerics *numerics = NULL;
	if (!open_path(strdup(path), true, &numerics, error))
		return false;
	// A file with all the answers may be read-only. One without any will be written to, and that must not fail after daemons were asked.
	if (numerics->count == 0 && !numerics_check_write(numerics, error)) {
		numerics_close(numerics);
		return false;
	}
	*ret_numerics = numerics;
	return true;
}

bool numerics_open_cache(struct numerics **ret_numerics, struct error *error)
{
	char *path = cache_file_path("numerics");
	struct error why;
	if (path != NULL && open_path(path, false, ret_numerics, &why)) {
		const struct numerics *numerics = *ret_numerics;
		if (numerics->wrong_lines > 0)
			log_warning("%u line%s of %s %s ignored; the first one: %s", numerics->wrong_lines,
				    strings_plural(numerics->wrong_lines), numerics->path,
				    numerics->wrong_lines == 1 ? "is" : "are", numerics->first_wrong);
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
