// Answers in memory, and the rules for one answer. See numerics.h.
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/numerics/internal.h"

bool numerics_is_text(const char *text)
{
	size_t length = 0;
	while (text[length] != '\0' && isascii(text[length]) && isgraph((unsigned char)text[length]))
		length++;
	return text[length] == '\0' && length > 0 && length < NUMERICS_TEXT_SIZE;
}

uint32_t numerics_fastest(uint32_t count, const uint64_t *ns)
{
	uint32_t best = count;
	for (uint32_t i = 0; i < count; i++)
		if (ns[i] != NUMERICS_UNUSABLE && (best == count || (double)ns[i] * 1.02 < (double)ns[best]))
			best = i;
	return best;
}

const struct numerics_answer *numerics_find(const struct numerics *numerics, const char *machine, const char *question)
{
	for (uint32_t i = numerics->count; i-- > 0;)
		if (strcmp(numerics->answers[i]->question, question) == 0 &&
		    strcmp(numerics->answers[i]->machine, machine) == 0)
			return numerics->answers[i];
	return NULL;
}

// A copy in one allocation: the answer, then its texts.
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
