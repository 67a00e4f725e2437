// Which kernels the stage's program uses: the program asks, the coordinator answers, for all stages of the job alike. The executor's
// thread waits here while the stage is opened: once for what the coordinator knows, and once more, where that leaves
// anything open, for the rest. Meanwhile it may be told to time some of the kernels.
#include <stdlib.h>
#include <string.h>

#include "stage_server/executor/internal.h"

// ---- The executor's thread

static bool hold_choices(struct executor *executor, uint32_t count, struct error *error)
{
	struct choice **kernels = calloc((size_t)count + 1, sizeof(*kernels));
	bool *marked = calloc((size_t)count + 1, sizeof(*marked));
	if (kernels == NULL || marked == NULL) {
		free(kernels);
		free(marked);
		return error_set(error, ERROR_OUT_OF_MEMORY, "out of memory");
	}
	free(executor->kernels);
	free(executor->kernel_is_marked);
	executor->kernels = kernels;
	executor->kernel_is_marked = marked;
	executor->kernel_count = count;
	return true;
}

static void set_state(struct executor *executor, enum kernels_state state)
{
	pthread_mutex_lock(&executor->lock);
	executor->kernels_state = state;
	pthread_mutex_unlock(&executor->lock);
}

// Waits until the coordinator said something; KERNELS_UNEXPECTED when stopped.
static enum kernels_state wait_for_word(struct executor *executor)
{
	pthread_mutex_lock(&executor->lock);
	while (executor->kernels_state != KERNELS_TIMING && executor->kernels_state != KERNELS_ANSWERED &&
	       !atomic_load(&executor->stopped))
		pthread_cond_wait(&executor->changed, &executor->lock);
	enum kernels_state state = atomic_load(&executor->stopped) ? KERNELS_UNEXPECTED : executor->kernels_state;
	if (state != KERNELS_TIMING)
		executor->kernels_state = KERNELS_UNEXPECTED;
	pthread_mutex_unlock(&executor->lock);
	return state;
}

static bool recall(void *user, struct choice *choices, uint32_t count, struct error *error)
{
	struct executor *executor = user;
	if (!hold_choices(executor, count, error))
		return false;
	for (uint32_t i = 0; i < count; i++)
		executor->kernels[i] = &choices[i];
	set_state(executor, KERNELS_RECALLING);
	executor->options.events->questions(executor->options.user, choices, count);
	return wait_for_word(executor) == KERNELS_ANSWERED || error_set(error, ERROR_CANCELLED, "stopped");
}

// The next one to time; NULL: there is none. With the last one's times the coordinator may answer at once.
static struct choice *next_marked(struct executor *executor)
{
	struct choice *next = NULL;
	uint32_t marked = 0;
	pthread_mutex_lock(&executor->lock);
	for (uint32_t i = 0; i < executor->kernel_count; i++) {
		if (!executor->kernel_is_marked[i])
			continue;
		executor->kernel_is_marked[i] = next != NULL;
		next = next != NULL ? next : executor->kernels[i];
		marked++;
	}
	if (marked <= 1 && executor->kernels_state == KERNELS_TIMING)
		executor->kernels_state = KERNELS_SETTLING;
	pthread_mutex_unlock(&executor->lock);
	return next;
}

static bool time_marked(struct executor *executor, struct error *error)
{
	for (struct choice *choice; (choice = next_marked(executor)) != NULL;) {
		uint64_t ns[CHOICE_MAXIMUM_CANDIDATES];
		if (!tuning_time(executor->options.tuning, choice, &executor->stopped, ns))
			return error_set(error, ERROR_CANCELLED, "stopped");
		executor->options.events->timed(executor->options.user, choice, ns);
	}
	return true;
}

// An answer that could not be used is dropped: the candidates say what can.
static bool settle(void *user, struct choice *const *open, uint32_t count, struct error *error)
{
	struct executor *executor = user;
	if (!hold_choices(executor, count, error))
		return false;
	for (uint32_t i = 0; i < count; i++) {
		executor->kernels[i] = open[i];
		open[i]->answer[0] = '\0';
	}
	set_state(executor, KERNELS_SETTLING);
	executor->options.events->candidates(executor->options.user, open, count);
	for (;;) {
		enum kernels_state state = wait_for_word(executor);
		if (state == KERNELS_ANSWERED)
			return true;
		if (state != KERNELS_TIMING)
			return error_set(error, ERROR_CANCELLED, "stopped");
		if (!time_marked(executor, error))
			return false;
	}
}

struct chooser executor_chooser(struct executor *executor)
{
	return (struct chooser){.recall = recall, .settle = settle, .user = executor};
}

// ---- Any thread, with the lock held

// Layers of one shape ask the same question: an answer is for all of them. How many there are.
static uint32_t answer(struct executor *executor, const struct kernel_answer *message)
{
	uint32_t found = 0;
	for (uint32_t i = 0; i < executor->kernel_count; i++) {
		struct choice *choice = executor->kernels[i];
		if (strcmp(choice->key, message->key) != 0)
			continue;
		strcpy(choice->answer, message->choice); // whose length was looked at
		found++;
	}
	return found;
}

static bool take_answer(struct executor *executor, const struct kernel_answer *message, struct error *error)
{
	size_t length = strlen(message->choice);
	if (length == 0 || length >= CHOICE_TEXT_SIZE)
		return error_set(error, ERROR_PROTOCOL, "a kernel's name has %zu characters, must have 1 to %d", length,
				 CHOICE_TEXT_SIZE - 1);
	return answer(executor, message) > 0 ||
	       error_set(error, ERROR_PROTOCOL, "an answer about kernels came to a question that was not asked: %.80s",
			 message->key);
}

// Of what is open all is answered, each by a kernel that there is.
static bool check_settled(const struct executor *executor, struct error *error)
{
	for (uint32_t i = 0; i < executor->kernel_count; i++) {
		const struct choice *choice = executor->kernels[i];
		if (choice_index(choice) == choice->count)
			return error_set(error, ERROR_PROTOCOL, "%s: the answer \"%s\" is none of its %u kernels",
					 choice->key, choice->answer, choice->count);
	}
	return true;
}

static bool mark(struct executor *executor, const char *key, struct error *error)
{
	for (uint32_t i = 0; i < executor->kernel_count; i++)
		if (strcmp(executor->kernels[i]->key, key) == 0) { // of those that ask the same the first one
			executor->kernel_is_marked[i] = true;
			return true;
		}
	return error_set(error, ERROR_PROTOCOL, "kernels are to be timed for what is not open: %.80s", key);
}

// ---- Any thread

bool executor_put_answers(struct executor *executor, const struct kernel_answers *answers, struct error *error)
{
	pthread_mutex_lock(&executor->lock);
	enum kernels_state state = executor->kernels_state;
	bool ok = (state == KERNELS_RECALLING || state == KERNELS_SETTLING) ||
		  error_set(error, ERROR_PROTOCOL, "kernel choices came that were not asked for");
	ok = ok && (answers->count <= executor->kernel_count ||
		    error_set(error, ERROR_PROTOCOL, "%u kernel choices came, but %u were asked for", answers->count,
			      executor->kernel_count));
	for (uint32_t i = 0; ok && i < answers->count; i++)
		ok = take_answer(executor, &answers->answers[i], error);
	ok = ok && (state == KERNELS_RECALLING || check_settled(executor, error));
	if (ok) {
		executor->kernels_state = KERNELS_ANSWERED;
		pthread_cond_broadcast(&executor->changed);
	}
	pthread_mutex_unlock(&executor->lock);
	return ok;
}

bool executor_time_kernels(struct executor *executor, const struct kernel_keys *keys, struct error *error)
{
	pthread_mutex_lock(&executor->lock);
	bool ok = executor->kernels_state == KERNELS_SETTLING ||
		  error_set(error, ERROR_PROTOCOL, "kernels are to be timed, but none are open");
	for (uint32_t i = 0; ok && i < keys->count; i++)
		ok = mark(executor, keys->keys[i], error);
	if (ok && keys->count > 0) {
		executor->kernels_state = KERNELS_TIMING;
		pthread_cond_broadcast(&executor->changed);
	}
	pthread_mutex_unlock(&executor->lock);
	return ok;
}
