// Answers about kernels and their file: what is added is found again, by this process and by others; what a person wrote is read, or
// refused by line.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "coordinator/numerics/numerics.h"

#define MACHINE  "AuthenticAMD-26-2/oneDNN-2.6.3/AVX-512/threads=1"
#define QUESTION "convolution-forward/n=4/in=64x16x16/out=128/k=3/s=1/p=1"

static char folder[64], path[96];

static int make_folder(void **state)
{
	snprintf(folder, sizeof(folder), "/tmp/penstock-test-XXXXXX");
	if (mkdtemp(folder) == NULL)
		return -1;
	snprintf(path, sizeof(path), "%s/numerics", folder);
	return 0;
}

static int remove_folder(void **state)
{
	chmod(path, 0644);
	unlink(path);
	return rmdir(folder);
}

static void write_text(const char *mode, const char *text)
{
	FILE *file = fopen(path, mode);
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static struct numerics *open_file(void)
{
	struct numerics *numerics = NULL;
	struct error error = {0};
	if (!numerics_open_file(path, &numerics, &error))
		fail_msg("%s", error.message);
	return numerics;
}

static struct numerics_answer answer_of(const char *question, uint32_t choice)
{
	return (struct numerics_answer){.machine = MACHINE,
					.question = question,
					.count = 3,
					.names = {"direct/jit:avx512_core", "winograd/jit_wino_4x3", "broken"},
					.ns = {614166, 420678, NUMERICS_UNUSABLE},
					.choice = choice};
}

static const struct numerics_answer *add_after(struct numerics *numerics, const char *question, uint32_t choice,
					       const struct numerics_answer *refused)
{
	struct error error = {0};
	struct numerics_answer answer = answer_of(question, choice);
	const struct numerics_answer *kept = NULL;
	if (!numerics_add(numerics, &answer, refused, &kept, &error))
		fail_msg("%s", error.message);
	return kept;
}

static const struct numerics_answer *add(struct numerics *numerics, const char *question, uint32_t choice)
{
	return add_after(numerics, question, choice, NULL);
}

static void assert_choice(const struct numerics *numerics, const char *question, const char *name)
{
	const struct numerics_answer *found = numerics_find(numerics, MACHINE, question);
	assert_non_null(found);
	assert_string_equal(found->names[found->choice], name);
}

static void add_is_found_again_from_the_file(void **state)
{
	struct numerics *numerics = open_file();
	assert_null(numerics_find(numerics, MACHINE, QUESTION));
	add(numerics, QUESTION, 1);
	add(numerics, "linear-forward/n=4/in=9/out=7", 0);
	numerics_close(numerics);
	numerics = open_file();
	assert_int_equal(numerics_count(numerics), 2);
	const struct numerics_answer *found = numerics_find(numerics, MACHINE, QUESTION);
	assert_non_null(found);
	assert_int_equal(found->count, 3);
	assert_string_equal(found->names[0], "direct/jit:avx512_core");
	assert_true(found->ns[0] == 614166 && found->ns[1] == 420678 && found->ns[2] == NUMERICS_UNUSABLE);
	assert_int_equal(found->choice, 1);
	assert_choice(numerics, "linear-forward/n=4/in=9/out=7", "direct/jit:avx512_core");
	assert_null(numerics_find(numerics, "another", QUESTION));
	numerics_close(numerics);
}

static void add_in_memory_is_found_again(void **state)
{
	struct numerics *numerics = numerics_create();
	assert_non_null(numerics);
	assert_null(numerics_path(numerics));
	for (int i = 0; i < 200; i++) {
		char question[32];
		snprintf(question, sizeof(question), "question-%d", i);
		add(numerics, question, (uint32_t)i % 2);
	}
	assert_choice(numerics, "question-0", "direct/jit:avx512_core");
	assert_choice(numerics, "question-199", "winograd/jit_wino_4x3");
	numerics_close(numerics);
}

// Two coordinators with one file, both asked the same two questions: the first answers hold for both, also the second one, which was
// read together with the first.
static void add_what_another_process_has_answered_gives_its_answer(void **state)
{
	struct numerics *first = open_file(), *second = open_file();
	add(first, QUESTION, 1);
	add(first, "linear-forward/n=4/in=9/out=7", 1);
	assert_int_equal(add(second, QUESTION, 0)->choice, 1);
	assert_int_equal(add(second, "linear-forward/n=4/in=9/out=7", 0)->choice, 1);
	assert_choice(second, QUESTION, "winograd/jit_wino_4x3");
	numerics_close(first);
	numerics_close(second);
	struct numerics *third = open_file();
	assert_int_equal(numerics_count(third), 2);
	numerics_close(third);
}

// What could not be used is asked anew, and answered behind it.
static void add_to_what_is_answered_replaces_it(void **state)
{
	struct numerics *numerics = open_file();
	add_after(numerics, QUESTION, 1, add(numerics, QUESTION, 0));
	assert_choice(numerics, QUESTION, "winograd/jit_wino_4x3");
	numerics_close(numerics);
	numerics = open_file();
	assert_choice(numerics, QUESTION, "winograd/jit_wino_4x3");
	numerics_close(numerics);
}

static void open_file_that_a_person_wrote_is_read(void **state)
{
	write_text(
		"w",
		"\n  \n{\"machine\": \"m\", \"question\": \"q\", \"choice\": \"b\", \"candidates\": {\"a\": 1, "
		"\"b\": null}}\r\n"
		"{\"candidates\":{\"a\":1},\"choice\":\"a\",\"question\":\"r\",\"machine\":\"m\"}"); // no end of line
	struct numerics *numerics = open_file();
	assert_int_equal(numerics_count(numerics), 2);
	assert_string_equal(numerics_find(numerics, "m", "q")->names[1], "b");
	add(numerics, QUESTION, 0);
	numerics_close(numerics);
	numerics = open_file();
	assert_int_equal(numerics_count(numerics), 3);
	numerics_close(numerics);
}

static void open_file_with_a_wrong_line_names_it(void **state)
{
	char longest[5000];
	memset(longest, ' ', sizeof(longest) - 1);
	longest[0] = '{';
	longest[sizeof(longest) - 1] = '\0';
	static const char *const rows[][2] = {
		{"nonsense", "near 'nonsense'"},
		{"[]", "not a JSON object"},
		{"{\"machine\": \"m\", \"machine\": \"n\"}", "duplicate"},
		{"{\"machine\": 1, \"question\": \"q\", \"choice\": \"a\", \"candidates\": {\"a\": 1}}",
		 "\"machine\" is missing"},
		{"{\"machine\": \"\", \"question\": \"q\", \"choice\": \"a\", \"candidates\": {\"a\": 1}}",
		 "1 to 159 characters"},
		{"{\"machine\": \"a b\", \"question\": \"q\", \"choice\": \"a\", \"candidates\": {\"a\": 1}}",
		 "without a space"},
		{"{\"machine\": \"m\", \"choice\": \"a\", \"candidates\": {\"a\": 1}}", "\"question\" is missing"},
		{"{\"machine\": \"m\", \"question\": \"q\", \"choice\": \"a\"}", "\"candidates\" is missing"},
		{"{\"machine\": \"m\", \"question\": \"q\", \"candidates\": {\"a\": 1}}", "\"choice\" is missing"},
		{"{\"machine\": \"m\", \"question\": \"q\", \"choice\": \"c\", \"candidates\": {\"a\": 1}}",
		 "the choice, c, is not one of"},
		{"{\"machine\": \"m\", \"question\": \"q\", \"choice\": \"a\", \"candidates\": {}}",
		 "is not one of the candidates"},
		{"{\"machine\": \"m\", \"question\": \"q\", \"choice\": \"a\", \"candidates\": {\"a\": -1}}",
		 "neither nanoseconds"},
		{"{\"machine\": \"m\", \"question\": \"q\", \"choice\": \"a\", \"candidates\": {\"a\": 1.5}}",
		 "neither nanoseconds"},
		{"{\"machine\": \"m\", \"question\": \"q\", \"choice\": \"a\", \"candidates\": {\"a\": 1}, \"x\": 1}",
		 "has no \"x\""},
		{"{\"machine\": \"m\", \"question\": \"q\", \"choice\": \"a\", \"candidates\": {\"a\": 1, \"b\": 1, "
		 "\"c\": 1, \"d\": 1, "
		 "\"e\": 1, \"f\": 1, \"g\": 1, \"h\": 1, \"i\": 1}}",
		 "more than 8 candidates"},
		{NULL, "longer than 4096 bytes"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct numerics *numerics = NULL;
		struct error error = {0};
		char place[128];
		write_text(
			"w",
			"{\"machine\": \"m\", \"question\": \"q\", \"choice\": \"a\", \"candidates\": {\"a\": 1}}\n");
		write_text("a", rows[i][0] != NULL ? rows[i][0] : longest);
		write_text("a", "\n");
		assert_false(numerics_open_file(path, &numerics, &error));
		assert_int_equal(error.code, ERROR_USAGE);
		snprintf(place, sizeof(place), "%s:2: ", path);
		assert_non_null(strstr(error.message, place));
		if (strstr(error.message, rows[i][1]) == NULL)
			fail_msg("\"%s\" does not say \"%s\"", error.message, rows[i][1]);
	}
}

static void open_what_is_no_file_is_refused(void **state)
{
	struct numerics *numerics = NULL;
	struct error error = {0};
	assert_false(numerics_open_file(folder, &numerics, &error));
	assert_int_equal(error.code, ERROR_USAGE);
	assert_false(numerics_open_file("/dev/null", &numerics, &error));
	assert_non_null(strstr(error.message, "is not a file"));
	write_text("w", "");
	assert_int_equal(truncate(path, (16 << 20) + 1), 0);
	assert_false(numerics_open_file(path, &numerics, &error));
	assert_non_null(strstr(error.message, "more than 16 MiB"));
}

static void open_file_that_could_not_be_written_is_refused(void **state)
{
	struct numerics *numerics = NULL;
	struct error error = {0};
	char missing[128], link[128];
	snprintf(missing, sizeof(missing), "%s/missing/numerics", folder);
	assert_false(numerics_open_file(missing, &numerics, &error));
	assert_int_equal(error.code, ERROR_USAGE);
	assert_non_null(strstr(error.message, "missing/numerics: create it: No such file or directory"));
	if (geteuid() != 0) { // root may write anywhere
		assert_int_equal(chmod(folder, 0500), 0);
		assert_false(numerics_open_file(path, &numerics, &error));
		assert_int_equal(chmod(folder, 0700), 0);
		assert_non_null(strstr(error.message, "/numerics: create it: Permission denied"));
		write_text("w", "");
		assert_int_equal(chmod(path, 0400), 0);
		assert_false(numerics_open_file(path, &numerics, &error));
		assert_non_null(strstr(error.message, "/numerics: write it: Permission denied"));
		unlink(path);
	}
	snprintf(link, sizeof(link), "%s/link", folder);
	assert_int_equal(symlink(path, link), 0); // to a file that can be created
	assert_true(numerics_open_file(link, &numerics, &error));
	assert_int_equal(access(path, F_OK), -1); // and is not yet
	numerics_close(numerics);
	assert_int_equal(unlink(link), 0);
}

static void add_to_a_named_file_that_cannot_be_written_fails(void **state)
{
	struct numerics *numerics = open_file();
	struct error error = {0};
	struct numerics_answer answer = answer_of(QUESTION, 0);
	const struct numerics_answer *kept = NULL;
	assert_int_equal(mkdir(path, 0755), 0);
	assert_false(numerics_add(numerics, &answer, NULL, &kept, &error));
	assert_non_null(strstr(error.message, path));
	assert_int_equal(error.code, ERROR_USAGE);
	assert_int_equal(rmdir(path), 0);

	// No room is a failure, not wrong usage.
	struct rlimit before;
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	assert_int_not_equal(signal(SIGXFSZ, SIG_IGN), SIG_ERR);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &(struct rlimit){.rlim_cur = 0, .rlim_max = before.rlim_max}), 0);
	bool added = numerics_add(numerics, &answer, NULL, &kept, &error);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	signal(SIGXFSZ, SIG_DFL);
	assert_false(added);
	assert_int_equal(error.code, ERROR_FAILED);
	assert_non_null(strstr(error.message, "File too large"));
	numerics_close(numerics);
}

// The user's cache leaves wrong lines out, and goes on without a file where there can be none. A home that is not there is not made.
static void open_cache_goes_on_whatever_is_there(void **state)
{
	char home[96], file[160];
	struct numerics *numerics = NULL;
	struct error error = {0};
	snprintf(home, sizeof(home), "%s/home", folder);
	setenv("XDG_CACHE_HOME", "relative", 1);
	setenv("HOME", home, 1);
	assert_true(numerics_open_cache(&numerics, &error));
	add(numerics, QUESTION, 1);
	assert_choice(numerics, QUESTION, "winograd/jit_wino_4x3");
	numerics_close(numerics);
	assert_int_equal(access(home, F_OK), -1);

	setenv("XDG_CACHE_HOME", folder, 1);
	assert_true(numerics_open_cache(&numerics, &error));
	snprintf(file, sizeof(file), "%s/penstock/numerics", folder);
	assert_string_equal(numerics_path(numerics), file);
	assert_false(numerics_is_named(numerics));
	add(numerics, QUESTION, 1);
	numerics_close(numerics);
	FILE *stream = fopen(file, "ae");
	assert_non_null(stream);
	fputs("nonsense\n", stream);
	fclose(stream);
	assert_true(numerics_open_cache(&numerics, &error));
	assert_int_equal(numerics_count(numerics), 1);
	numerics_close(numerics);
	unlink(file);
	snprintf(file, sizeof(file), "%s/penstock", folder);
	assert_int_equal(rmdir(file), 0);
}

static void fastest_takes_the_first_of_a_tie(void **state)
{
	assert_int_equal(numerics_fastest(2, (uint64_t[]){100, 99}), 0);
	assert_int_equal(numerics_fastest(2, (uint64_t[]){100, 97}), 1);
	assert_int_equal(numerics_fastest(3, (uint64_t[]){NUMERICS_UNUSABLE, 100, 50}), 2);
	assert_int_equal(numerics_fastest(2, (uint64_t[]){NUMERICS_UNUSABLE, NUMERICS_UNUSABLE}), 2);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)
	const struct CMUnitTest tests[] = {
		CASE(add_is_found_again_from_the_file),
		CASE(add_in_memory_is_found_again),
		CASE(add_what_another_process_has_answered_gives_its_answer),
		CASE(add_to_what_is_answered_replaces_it),
		CASE(open_file_that_a_person_wrote_is_read),
		CASE(open_file_with_a_wrong_line_names_it),
		CASE(open_what_is_no_file_is_refused),
		CASE(open_file_that_could_not_be_written_is_refused),
		CASE(add_to_a_named_file_that_cannot_be_written_fails),
		CASE(open_cache_goes_on_whatever_is_there),
		cmocka_unit_test(fastest_takes_the_first_of_a_tie),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
