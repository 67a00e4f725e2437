// Files that an administrator names.
#include "tests/unit/cmocka_all.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/files.h"

static void assert_refused(const char *path, int code)
{
	errno = 0;
	assert_null(files_open(path));
	assert_int_equal(errno, code);
}

static void files_open_what_is_no_file_is_refused_at_once(void **state)
{
	char folder[] = "/tmp/penstock-files-XXXXXX";
	struct sockaddr_un place = {.sun_family = AF_UNIX, .sun_path = "socket"};
	assert_non_null(mkdtemp(folder));
	assert_int_equal(chdir(folder), 0);
	assert_int_equal(mkfifo("pipe", 0600), 0);
	int listener = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(listener, (const struct sockaddr *)&place, sizeof(place)), 0);
	alarm(5); // a pipe would wait for a writer
	assert_refused("pipe", ESPIPE);
	assert_refused("socket", ESPIPE);
	assert_refused(folder, EISDIR);
	assert_refused("none", ENOENT);
	FILE *file = files_open("/dev/null");
	assert_non_null(file);
	assert_int_equal(fgetc(file), EOF);
	fclose(file);
	alarm(0);
	close(listener);
	unlink("pipe");
	unlink("socket");
	assert_int_equal(chdir("/"), 0);
	assert_int_equal(rmdir(folder), 0);
}

static void files_allow_all_descriptors_raises_the_soft_limit(void **state)
{
	struct rlimit limit;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = 32;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	files_allow_all_descriptors();
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_int_equal(limit.rlim_cur, limit.rlim_max);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(files_open_what_is_no_file_is_refused_at_once),
		cmocka_unit_test(files_allow_all_descriptors_raises_the_soft_limit),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
