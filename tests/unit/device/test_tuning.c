// What is timed once is remembered, by every process that reads the file; what cannot be remembered is not timed.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "stage_server/device/tuning.h"

struct fixture {
	char folder[64], file[128];
	int runs[TUNING_MAXIMUM_CANDIDATES];
	uint64_t cost_ns[TUNING_MAXIMUM_CANDIDATES]; // 0: cannot be used
};

static bool run_candidate(void *context, uint32_t candidate)
{
	struct fixture *f = context;
	f->runs[candidate]++;
	for (uint64_t end_ns = clock_now_ns() + f->cost_ns[candidate]; clock_now_ns() < end_ns;)
		; // the cost is time itself
	return f->cost_ns[candidate] > 0;
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	assert_non_null(f);
	snprintf(f->folder, sizeof(f->folder), "/tmp/penstock-tuning-XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	snprintf(f->file, sizeof(f->file), "%s/deep/tuning", f->folder);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	unlink(f->file);
	char deep[96];
	snprintf(deep, sizeof(deep), "%s/deep", f->folder);
	rmdir(deep);
	rmdir(f->folder);
	free(f);
	return 0;
}

static struct tuning *open_tuning(const char *file, uint32_t threads)
{
	struct error error = {0};
	struct tuning *tuning = NULL;
	char machine[64];
	snprintf(machine, sizeof(machine), "a machine/threads=%u", threads);
	if (!tuning_create(file, machine, &tuning, &error))
		fail_msg("%s", error.message);
	return tuning;
}

static uint32_t choose(struct fixture *f, const char *file, uint32_t threads, const char *key)
{
	struct tuning *tuning = open_tuning(file, threads);
	struct tuning_question question = {
		.key = key, .count = 3, .names = {"slow", "fast", "broken"}, .run = run_candidate, .context = f};
	uint32_t choice = tuning_choose(tuning, &question);
	tuning_destroy(tuning);
	return choice;
}

static void set_costs(struct fixture *f, uint64_t a, uint64_t b, uint64_t c)
{
	memcpy(f->cost_ns, (uint64_t[]){a, b, c}, 3 * sizeof(uint64_t));
	memset(f->runs, 0, sizeof(f->runs));
}

static void choose_new_shape_takes_the_fastest_and_remembers(void **state)
{
	struct fixture *f = *state;
	set_costs(f, 3000000, 300000, 0);
	assert_int_equal(choose(f, f->file, 1, "product/n=1"), 1);
	assert_true(f->runs[0] > 1 && f->runs[1] > 1);
	assert_int_equal(f->runs[2], 1);  // it said that it cannot
	set_costs(f, 300000, 3000000, 0); // timed again it would come out otherwise
	assert_int_equal(choose(f, f->file, 1, "product/n=1"), 1);
	assert_int_equal(f->runs[0] + f->runs[1], 0);
	// Another shape, and the same with another number of threads, are other questions.
	assert_int_equal(choose(f, f->file, 1, "product/n=10"), 0);
	assert_int_equal(choose(f, f->file, 2, "product/n=1"), 0);
	assert_true(f->runs[0] > 0);
}

static void choose_unknown_name_in_the_file_is_timed_again(void **state)
{
	struct fixture *f = *state;
	set_costs(f, 3000000, 300000, 0);
	choose(f, f->file, 1, "product");
	// As after an update that renamed the candidate; and lines that are no lines of this file.
	char text[512] = "";
	FILE *file = fopen(f->file, "r+e");
	assert_non_null(file);
	size_t length = fread(text, 1, sizeof(text) - 1, file);
	char *name = strstr(text, "\tfast\t");
	assert_true(length > 0 && name != NULL);
	memcpy(name, "\tlost\t", 6);
	rewind(file);
	fwrite(text, 1, length, file);
	fputs("\n\t\t\nnonsense without tabs\n\xff\xfe\n", file);
	fclose(file);
	set_costs(f, 300000, 3000000, 0);
	assert_int_equal(choose(f, f->file, 1, "product"), 0);
	assert_true(f->runs[0] > 0);
}

static void choose_file_cannot_be_written_takes_the_first_untimed(void **state)
{
	struct fixture *f = *state;
	set_costs(f, 3000000, 300000, 0);
	assert_int_equal(choose(f, "/proc/penstock/tuning", 1, "product"), 0);
	assert_int_equal(f->runs[0] + f->runs[1], 0);
}

// A line more could not be found again, so it must not decide.
static void choose_file_is_full_takes_the_first_untimed(void **state)
{
	struct fixture *f = *state;
	set_costs(f, 3000000, 300000, 0);
	choose(f, f->file, 1, "product/n=1");
	assert_int_equal(truncate(f->file, 4 << 20), 0);
	struct stat before, after;
	assert_int_equal(stat(f->file, &before), 0);
	set_costs(f, 3000000, 300000, 0);
	assert_int_equal(choose(f, f->file, 1, "product/n=2"), 0);
	assert_int_equal(choose(f, f->file, 1, "product/n=1"), 0);
	assert_int_equal(f->runs[0] + f->runs[1], 0);
	assert_int_equal(stat(f->file, &after), 0);
	assert_int_equal(before.st_size, after.st_size);
}

// Whoever waits for the lock waits for no more than this.
static void choose_slow_candidates_are_run_twice(void **state)
{
	struct fixture *f = *state;
	set_costs(f, 600000000, 10000000, 0);
	assert_int_equal(choose(f, f->file, 1, "product"), 1);
	assert_int_equal(f->runs[0], 2);
	assert_int_equal(f->runs[1], 2);
}

static void choose_nothing_usable_remembers_nothing(void **state)
{
	struct fixture *f = *state;
	set_costs(f, 0, 0, 0);
	assert_int_equal(choose(f, f->file, 1, "product"), 0);
	struct stat status;
	assert_int_equal(stat(f->file, &status), 0);
	assert_int_equal(status.st_size, 0);
}

// Two processes at once: one times, the other waits and then reads.
static void choose_two_processes_at_once_agree(void **state)
{
	struct fixture *f = *state;
	set_costs(f, 20000000, 10000000, 0);
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		set_costs(f, 10000000, 20000000, 0); // the opposite
		_exit((int)choose(f, f->file, 1, "product"));
	}
	uint32_t own = choose(f, f->file, 1, "product");
	int status = 0;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), own);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(choose_new_shape_takes_the_fastest_and_remembers, set_up, tear_down),
		cmocka_unit_test_setup_teardown(choose_unknown_name_in_the_file_is_timed_again, set_up, tear_down),
		cmocka_unit_test_setup_teardown(choose_file_cannot_be_written_takes_the_first_untimed, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(choose_file_is_full_takes_the_first_untimed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(choose_slow_candidates_are_run_twice, set_up, tear_down),
		cmocka_unit_test_setup_teardown(choose_nothing_usable_remembers_nothing, set_up, tear_down),
		cmocka_unit_test_setup_teardown(choose_two_processes_at_once_agree, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
