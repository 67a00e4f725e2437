// Reading tar archives, packed and not, and refusing bad ones.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <unistd.h>

#include "coordinator/dataset/tar.h"
#include "tests/unit/dataset/pictures.h"

static char folder[64];

static int make_folder(void **state)
{
	strcpy(folder, "/tmp/penstock-test-XXXXXX");
	return mkdtemp(folder) == NULL
		       ? -1
		       : run_command("cd %s && mkdir d && printf hello >d/a && seq 1 9999 >b && : >c", folder);
}

static int remove_folder(void **state)
{
	return run_command("rm -rf %s", folder);
}

static struct tar *open_archive(void)
{
	char path[96];
	struct tar *tar;
	struct error error = {0};
	snprintf(path, sizeof(path), "%s/t.tar", folder);
	if (!tar_open(path, &tar, &error))
		fail_msg("%s", error.message);
	return tar;
}

// The archive ends with this error; its text may be NULL: with none.
static void assert_end(const char *expected)
{
	struct tar *tar = open_archive();
	struct tar_member member;
	struct error error = {0};
	bool is_end = false, ok;
	while ((ok = tar_next(tar, &member, &is_end, &error)) && !is_end)
		;
	tar_close(tar);
	if (expected == NULL && !ok)
		fail_msg("%s", error.message);
	if (expected != NULL && (ok || error.code != ERROR_USAGE || strstr(error.message, expected) == NULL))
		fail_msg("expected \"%s\", got \"%s\"", expected, error.message);
}

static void assert_member(struct tar *tar, const char *name, uint64_t size_bytes, bool is_file)
{
	struct tar_member member;
	struct error error = {0};
	bool is_end;
	assert_true(tar_next(tar, &member, &is_end, &error));
	assert_false(is_end);
	assert_string_equal(member.name, name);
	assert_int_equal(member.size_bytes, size_bytes);
	assert_int_equal(member.is_file, is_file);
	if (size_bytes != 5 || !is_file)
		return;
	char text[6] = "", again[6] = "", path[96];
	assert_true(tar_read(tar, &member, (uint8_t *)text, &error));
	assert_string_equal(text, "hello");
	if (tar_is_packed(tar))
		return;
	snprintf(path, sizeof(path), "%s/t.tar", folder);
	int descriptor = open(path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(pread(descriptor, again, 5, (off_t)member.offset_bytes), 5);
	close(descriptor);
	assert_string_equal(again, "hello");
}

static void assert_members(void)
{
	struct tar *tar = open_archive();
	struct tar_member member;
	struct error error = {0};
	bool is_end = false;
	assert_member(tar, "b", 48888, true); // not read
	assert_member(tar, "d/", 0, false);
	assert_member(tar, "d/a", 5, true);
	assert_member(tar, "c", 0, true);
	assert_true(tar_next(tar, &member, &is_end, &error));
	assert_true(is_end);
	tar_close(tar);
}

static void next_gives_members_of_every_variant(void **state)
{
	static const char *const variants[] = {"v7", "ustar", "gnu", "pax"};
	for (int i = 0; i < 4; i++) {
		assert_int_equal(run_command("cd %s && tar cf t.tar -H %s b d c", folder, variants[i]), 0);
		assert_members();
		assert_int_equal(run_command("cd %s && tar czf t.tar -H %s b d c", folder, variants[i]), 0);
		assert_members();
	}
}

static void next_gives_names_that_are_long_or_not_ascii(void **state)
{
	char name[301] = "";
	memset(name, 'n', 240);
	assert_int_equal(run_command("cd %s && printf hello >%s && printf hello >größe && tar cf t.tar -H pax %s größe",
				     folder, name, name),
			 0);
	struct tar *tar = open_archive();
	assert_member(tar, name, 5, true);
	assert_member(tar, "größe", 5, true);
	tar_close(tar);
}

static void next_refuses_a_path_that_leaves_the_folder(void **state)
{
	assert_int_equal(run_command("cd %s/d && tar cPf ../t.tar ../b", folder), 0);
	assert_end("member ../b leaves the folder of the archive");
	assert_int_equal(run_command("cd %s && tar cPf t.tar $PWD/b", folder), 0);
	assert_end("/b leaves the folder of the archive: its path begins with / or contains ..");
	assert_int_equal(run_command("cd %s && tar cPf t.tar --transform s,b,d/../../b, b", folder), 0);
	assert_end("member d/../../b leaves");
	assert_int_equal(run_command("cd %s && cp b ..b.. && tar cPf t.tar ./..b.. ./d", folder), 0);
	assert_end(NULL);
}

static void next_does_not_take_links_for_files(void **state)
{
	assert_int_equal(run_command("cd %s && ln -s /etc/passwd l && ln b m && tar cf t.tar l b m", folder), 0);
	struct tar *tar = open_archive();
	assert_member(tar, "l", 0, false);
	assert_member(tar, "b", 48888, true);
	assert_member(tar, "m", 0, false);
	tar_close(tar);
}

static void next_refuses_an_archive_that_is_cut_short(void **state)
{
	assert_int_equal(run_command("cd %s && tar cf t.tar -b 1 b d c", folder), 0);
	assert_end(NULL);
	for (int cut = 1024; cut <= 3 * 1024; cut += 512) { // between members, too
		assert_int_equal(run_command("cd %s && tar cf t.tar -b 1 b d c && truncate -s -%d t.tar", folder, cut),
				 0);
		assert_end("is damaged");
	}
	assert_int_equal(run_command("cd %s && tar cf t.tar -b 1 b && truncate -s 20000 t.tar", folder), 0);
	assert_end("is damaged");
	assert_int_equal(run_command("cd %s && tar czf t.tar b d c && truncate -s -20 t.tar", folder), 0);
	assert_end("is damaged: it is cut short");
	assert_int_equal(run_command("cd %s && : >t.tar", folder), 0);
	assert_end("is damaged");
}

static void next_refuses_what_is_damaged(void **state)
{
	assert_int_equal(run_command("cd %s && tar cf t.tar -b 1 b d c && printf X | dd of=t.tar bs=1 seek=49700 "
				     "conv=notrunc status=none",
				     folder),
			 0);
	assert_end("is damaged, or not a tar archive"); // in the header of d
	assert_int_equal(
		run_command("cd %s && tar czf t.tar b && printf XXXX | dd of=t.tar bs=1 conv=notrunc status=none "
			    "seek=$(($(stat -c %%s t.tar) - 8))",
			    folder),
		0);
	assert_end("is damaged: incorrect data check"); // gzip's own
	assert_int_equal(run_command("cd %s && cp b t.tar", folder), 0);
	assert_end("is damaged, or not a tar archive");
}

static void open_refuses_what_is_no_file(void **state)
{
	struct tar *tar;
	struct error error = {0};
	assert_false(tar_open("/dev/null", &tar, &error));
	assert_string_equal(error.message, "is not a regular file");
	assert_false(tar_open("/nowhere", &tar, &error));
	assert_string_equal(error.message, "No such file or directory");
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)
	const struct CMUnitTest tests[] = {
		CASE(next_gives_members_of_every_variant),
		CASE(next_gives_names_that_are_long_or_not_ascii),
		CASE(next_refuses_a_path_that_leaves_the_folder),
		CASE(next_does_not_take_links_for_files),
		CASE(next_refuses_an_archive_that_is_cut_short),
		CASE(next_refuses_what_is_damaged),
		CASE(open_refuses_what_is_no_file),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
