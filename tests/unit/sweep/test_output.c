// The folder: files that take each other's place, and the pictures of DeepSpeed's own figures. They stay in the folder of the
// build, deepspeed_alexnet/ and deepspeed_vgg/, to be looked at.
#include "tests/unit/sweep/deepspeed.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "coordinator/sweep/file.h"
#include "coordinator/sweep/output.h"

static struct sweep_output *open_output(const char *folder)
{
	struct sweep_output *output = NULL;
	struct error error = {0};
	if (!sweep_output_open(folder, &output, &error))
		fail_msg("%s", error.message);
	return output;
}

static long size_of(const char *folder, const char *name)
{
	char path[200];
	struct stat status;
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return stat(path, &status) == 0 ? (long)status.st_size : -1;
}

static bool never(void)
{
	return false;
}

// Draws; the picture has something of every series in it, so it is not small.
static void assert_drawn(const char *folder, struct sweep *sweep)
{
	struct sweep_output *output = open_output(folder);
	struct error error = {0};
	if (!sweep_output_write(output, sweep, &error))
		fail_msg("%s", error.message);
	bool removed = true;
	enum sweep_output_pictures pictures = sweep_output_draw(output, never, &removed, &error);
	if (pictures == SWEEP_NO_GNUPLOT)
		skip();
	if (pictures != SWEEP_DRAWN)
		fail_msg("%s", error.message);
	assert_false(removed);
	assert_true(size_of(folder, "sweep.png") > 20000);
	assert_true(size_of(folder, "sweep.svg") > 20000);
	assert_int_equal(size_of(folder, "sweep.png.part"), -1);
	assert_int_equal(size_of(folder, "sweep.json.part"), -1);
	sweep_output_close(output);
	sweep_destroy(sweep);
}

static void draw_alexnet_of_deepspeed_makes_both_pictures(void **state)
{
	assert_drawn("deepspeed_alexnet", deepspeed_alexnet());
}

static void draw_vgg_of_deepspeed_makes_both_pictures(void **state)
{
	assert_drawn("deepspeed_vgg", deepspeed_vgg());
}

static void draw_without_any_figure_makes_both_pictures(void **state)
{
	static const double rates[] = {OOM, 0, OOM, OOM};
	struct sweep *sweep = make_sweep("0,2", "8", "1,2", json_object(), rates);
	sweep->results[0].outcome = SWEEP_MISSING;
	strcpy(sweep->title, "it's \\n 'quoted'");
	assert_drawn("nothing", sweep);
}

static void make_file(const char *path, const char *text, mode_t mode)
{
	FILE *out = fopen(path, "w");
	assert_non_null(out);
	fputs(text, out);
	assert_int_equal(fclose(out), 0);
	assert_int_equal(chmod(path, mode), 0);
}

// With a gnuplot that is this script.
static enum sweep_output_pictures draw_by(const char *folder, const char *script, bool (*is_interrupted)(void),
					  bool *ret_removed, struct error *error)
{
	char *path = strdup(getenv("PATH")), here[PATH_MAX], with[2 * PATH_MAX], program[64];
	struct sweep *sweep = deepspeed_vgg();
	struct sweep_output *output = open_output(folder);
	assert_true(sweep_output_write(output, sweep, error));
	snprintf(program, sizeof(program), "%s/gnuplot", folder);
	make_file(program, script, 0755);
	snprintf(with, sizeof(with), "%s/%s:%s", getcwd(here, sizeof(here)), folder, path);
	setenv("PATH", with, 1);
	enum sweep_output_pictures pictures = sweep_output_draw(output, is_interrupted, ret_removed, error);
	setenv("PATH", path, 1);
	free(path);
	sweep_output_close(output);
	sweep_destroy(sweep);
	return pictures;
}

static void draw_that_fails_removes_the_pictures_before(void **state)
{
	struct error error = {0};
	bool removed = false;
	sweep_output_close(open_output("fails"));
	make_file("fails/sweep.png", "old", 0644);
	make_file("fails/sweep.svg", "old", 0644);
	assert_int_equal(draw_by("fails", "#!/bin/sh\necho half >sweep.png.part\nexit 3\n", never, &removed, &error),
			 SWEEP_NOT_DRAWN);
	assert_non_null(strstr(error.message, "gnuplot ended with code 3"));
	assert_true(removed);
	assert_int_equal(size_of("fails", "sweep.png"), -1);
	assert_int_equal(size_of("fails", "sweep.svg"), -1);
	assert_int_equal(size_of("fails", "sweep.png.part"), -1);
	assert_int_equal(draw_by("fails", "#!/bin/sh\nexit 3\n", never, &removed, &error), SWEEP_NOT_DRAWN);
	assert_false(removed);
}

static bool once_it_runs(void)
{
	return size_of("interrupted", "pid") > 0;
}

static void draw_that_is_interrupted_ends_gnuplot(void **state)
{
	struct error error = {0};
	bool removed;
	int pid = 0;
	sweep_output_close(open_output("interrupted"));
	unlink("interrupted/pid");
	alarm(30);
	assert_int_equal(
		draw_by("interrupted", "#!/bin/sh\nsleep 300 &\necho $! >pid\nwait\n", once_it_runs, &removed, &error),
		SWEEP_NOT_DRAWN);
	alarm(0);
	assert_int_equal(error.code, ERROR_CANCELLED);
	FILE *in = fopen("interrupted/pid", "r");
	assert_non_null(in);
	assert_int_equal(fscanf(in, "%d", &pid), 1);
	fclose(in);
	char path[64], state_of = 'R'; // dead, or not yet reaped by the one it was left to
	for (int i = 0; i < 500 && state_of != 'Z'; i++) {
		snprintf(path, sizeof(path), "/proc/%d/stat", pid);
		in = fopen(path, "r");
		if (in == NULL)
			return;
		if (fscanf(in, "%*d (%*[^)]) %c", &state_of) != 1)
			state_of = 'Z';
		fclose(in);
		usleep(10000);
	}
	assert_int_equal(state_of, 'Z');
}

static void draw_without_gnuplot_is_told(void **state)
{
	bool removed = true;
	char *path = strdup(getenv("PATH"));
	struct sweep *sweep = deepspeed_vgg();
	struct sweep_output *output = open_output("no_gnuplot");
	struct error error = {0};
	assert_true(sweep_output_write(output, sweep, &error));
	setenv("PATH", "/nowhere", 1);
	assert_int_equal(sweep_output_draw(output, never, &removed, &error), SWEEP_NO_GNUPLOT);
	assert_false(removed);
	setenv("PATH", path, 1);
	free(path);
	sweep_output_close(output);
	sweep_destroy(sweep);
}

static void open_folder_in_use_is_refused_until_it_is_closed(void **state)
{
	struct sweep_output *first = open_output("in_use"), *second = NULL;
	struct error error = {0};
	assert_false(sweep_output_open("in_use", &second, &error));
	assert_int_equal(error.code, ERROR_USAGE);
	assert_non_null(strstr(error.message, "--output: in_use: process "));
	sweep_output_close(first);
	sweep_output_close(open_output("in_use"));
}

static void open_folder_that_cannot_be_is_refused(void **state)
{
	struct sweep_output *output = NULL;
	struct error error = {0};
	assert_false(sweep_output_open("/proc/nowhere/folder", &output, &error));
	assert_int_equal(error.code, ERROR_USAGE);
	fclose(fopen("a_file", "w"));
	assert_false(sweep_output_open("a_file", &output, &error));
	assert_non_null(strstr(error.message, "--output a_file: Not a directory"));
}

// A limit on the size of files fails where a full disk does.
static void write_without_space_is_told_and_leaves_the_file_before(void **state)
{
	struct sweep *sweep = deepspeed_alexnet(), *read = NULL;
	struct sweep_output *output = open_output("full");
	struct error error = {0};
	struct rlimit before, small;
	assert_true(sweep_output_write(output, sweep, &error));
	sweep->results[0].outcome = SWEEP_FAILED;
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	small = before;
	small.rlim_cur = 100;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	bool written = sweep_output_write(output, sweep, &error);
	setrlimit(RLIMIT_FSIZE, &before);
	assert_false(written);
	assert_non_null(strstr(error.message, "full/sweep.json: write: File too large"));
	assert_true(sweep_file_read("full/sweep.json", &read, &error));
	assert_int_equal(read->results[0].outcome, SWEEP_DONE);
	sweep_destroy(read);
	sweep_destroy(sweep);
	sweep_output_close(output);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(draw_alexnet_of_deepspeed_makes_both_pictures),
		cmocka_unit_test(draw_vgg_of_deepspeed_makes_both_pictures),
		cmocka_unit_test(draw_without_any_figure_makes_both_pictures),
		cmocka_unit_test(draw_that_fails_removes_the_pictures_before),
		cmocka_unit_test(draw_that_is_interrupted_ends_gnuplot),
		cmocka_unit_test(draw_without_gnuplot_is_told),
		cmocka_unit_test(open_folder_in_use_is_refused_until_it_is_closed),
		cmocka_unit_test(open_folder_that_cannot_be_is_refused),
		cmocka_unit_test(write_without_space_is_told_and_leaves_the_file_before),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
