// What is at a path is told by looking at it: folders of classes, archives, CIFAR, and what is none of them.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/stat.h>
#include <unistd.h>

#include "coordinator/dataset/dataset.h"
#include "tests/unit/dataset/pictures.h"

enum { SIDE = 4, SIDE_BYTES = 3 * SIDE * SIDE };

static char folder[64];

static int make_folder(void **state)
{
	strcpy(folder, "/tmp/penstock-test-XXXXXX");
	return mkdtemp(folder) == NULL ? -1 : 0;
}

static int remove_folder(void **state)
{
	return run_command("chmod -R u+rwx %s; rm -rf %s", folder, folder);
}

static char *below(const char *name)
{
	static char path[400];
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return path;
}

// Writes an image of seed `seed`; makes its folder.
static void put_sized(const char *name, unsigned seed, unsigned width, unsigned height)
{
	assert_int_equal(run_command("mkdir -p \"$(dirname '%s')\"", below(name)), 0);
	assert_true(picture_write(below(name), seed, width, height));
}

static void put(const char *name, unsigned seed)
{
	put_sized(name, seed, SIDE, SIDE);
}

static struct dataset *open_path(const char *path)
{
	struct dataset *dataset;
	struct error error = {0};
	if (!dataset_open(path, 8, &dataset, &error))
		fail_msg("%s", error.message);
	return dataset;
}

static void assert_text(const char *message, const char *expected)
{
	if (strstr(message, expected) == NULL)
		fail_msg("expected \"%s\", got \"%s\"", expected, message);
}

static void assert_refused(const char *path, const char *expected)
{
	struct dataset *dataset = (struct dataset *)folder;
	struct error error = {0};
	assert_false(dataset_open(path, 8, &dataset, &error));
	assert_ptr_equal(dataset, folder); // untouched
	assert_int_equal(error.code, ERROR_USAGE);
	assert_text(error.message, expected);
	assert_text(error.message, "dataset /");
}

static void assert_described(const struct dataset *dataset, const char *expected)
{
	char text[DATASET_TEXT_SIZE];
	assert_string_equal(dataset_describe(dataset, text), expected);
}

// The samples, in order, are those of these seeds and labels.
static void assert_samples(const struct dataset *dataset, const unsigned *seeds, const uint8_t *labels, uint32_t count)
{
	uint8_t images[16 * SIDE_BYTES], got[16];
	uint64_t numbers[16];
	struct error error = {0};
	assert_int_equal(dataset_count(dataset), count);
	assert_int_equal(dataset_tensor_bytes(dataset_tensor(dataset, DATASET_IMAGES)), SIDE_BYTES);
	for (uint32_t i = 0; i < count; i++)
		numbers[i] = count - 1 - i; // in any order
	if (!dataset_read(dataset, numbers, count, (void *[]){images, got}, &error))
		fail_msg("%s", error.message);
	for (uint32_t i = 0; i < count; i++) {
		const uint8_t *planes = images + (count - 1 - i) * SIDE_BYTES;
		assert_int_equal(got[count - 1 - i], labels[i]);
		for (unsigned k = 0; k < SIDE_BYTES; k++)
			assert_int_equal(planes[k],
					 picture_value(seeds[i], k % SIDE, k / SIDE % SIDE, k / (SIDE * SIDE)));
	}
}

static void assert_read_fails(const struct dataset *dataset, uint64_t sample, const char *expected)
{
	uint8_t image[3 * 8 * 8], label;
	struct error error = {0};
	assert_false(dataset_read(dataset, &sample, 1, (void *[]){image, &label}, &error));
	assert_int_equal(error.code, ERROR_USAGE);
	assert_text(error.message, expected);
}

// ---- Folders of classes

static void folder_numbers_classes_and_files_as_torchvision_does(void **state)
{
	put("pike/b.png", 1);
	put("pike/B.PNG", 2);
	put("pike/sub/a.png", 3);
	put("pike-/z.png", 4); // '-' comes before '/'
	put("carp/1.jpeg", 5); // the name does not matter
	put("Zander/10.png", 6);
	put("Zander/9.png", 7);
	assert_int_equal(run_command("echo x >%s/pike/notes.txt; echo x >%s/read.me", folder, folder), 0);
	struct dataset *dataset = open_path(folder);
	assert_samples(dataset, (unsigned[]){6, 7, 5, 2, 1, 3, 4}, (uint8_t[]){0, 0, 1, 2, 2, 2, 3}, 7);
	assert_string_equal(dataset_class_name(dataset, 0), "Zander");
	assert_string_equal(dataset_class_name(dataset, 3), "pike-");
	assert_null(dataset_class_name(dataset, 4));
	assert_described(dataset, "folder of classes: 7 images of 3 x 4 x 4, 4 classes (Zander, carp, pike, pike-); no "
				  "validation part");
	dataset_close(dataset);
}

static void folder_of_parts_takes_train(void **state)
{
	put("train/a/1.png", 1);
	put("train/b/1.png", 2);
	put("val/a/1.png", 3);
	struct dataset *dataset = open_path(folder);
	assert_samples(dataset, (unsigned[]){1, 2}, (uint8_t[]){0, 1}, 2);
	assert_described(dataset, "folder of classes: 2 images of 3 x 4 x 4, 2 classes (a, b); validation: folder val");
	dataset_close(dataset);
	put("bus/1.png", 3); // then train is a class
	dataset = open_path(folder);
	assert_samples(dataset, (unsigned[]){3, 1, 2, 3}, (uint8_t[]){0, 1, 1, 2}, 4);
	dataset_close(dataset);
}

static void folder_of_other_sizes_is_resized_and_cropped(void **state)
{
	put_sized("a/1.png", 1, 30, 20);
	put_sized("b/1.png", 2, 4, 4);
	struct dataset *dataset = open_path(folder);
	assert_described(dataset, "folder of classes: 2 images of 3 x 8 x 8, resized and cropped, 2 classes (a, b); no "
				  "validation part");
	assert_int_equal(dataset_tensor(dataset, DATASET_IMAGES)->dimensions[1], 8);
	dataset_close(dataset);
	put_sized("a/1.png", 1, 16, 16); // square, but larger than asked for
	put_sized("b/1.png", 2, 16, 16);
	dataset = open_path(folder);
	assert_int_equal(dataset_tensor(dataset, DATASET_IMAGES)->dimensions[1], 8);
	dataset_close(dataset);
}

static void folder_with_an_empty_class_is_refused(void **state)
{
	put("a/1.png", 1);
	put("b/1.png", 1);
	assert_int_equal(run_command("mkdir %s/car && echo x >%s/car/notes.txt", folder, folder), 0);
	assert_refused(folder, "class folder car is empty: it has no .jpg, .jpeg or .png file");
}

static void folder_of_one_class_is_refused(void **state)
{
	put("a/1.png", 1);
	assert_refused(folder, "has only one class");
}

static void folder_of_257_classes_is_refused(void **state)
{
	put("000/1.png", 1);
	assert_int_equal(run_command("cd %s && for i in $(seq 1 256); do mkdir $i && cp 000/1.png $i; done", folder),
			 0);
	assert_refused(folder, "has 257 classes; the maximum is 256, because a label is sent as one byte");
	assert_int_equal(run_command("rm -r %s/256", folder), 0);
	struct dataset *dataset = open_path(folder);
	assert_int_equal(dataset_classes(dataset), 256);
	dataset_close(dataset);
}

static void folder_with_images_of_another_format_is_refused(void **state)
{
	put("a/1.png", 1);
	put("b/1.png", 1);
	assert_int_equal(run_command("echo x >%s/b/2.webp", folder), 0);
	assert_refused(folder, "/b/2.webp: is an image of a format that is not read: only JPEG and PNG are");
}

static void folder_with_links(void **state)
{
	put("a/1.png", 1);
	put("elsewhere/b/1.png", 2);
	assert_int_equal(
		run_command("cd %s && mkdir set && mv a set && ln -s ../elsewhere/b set/b && ln -s ../../elsewhere "
			    "set/a/more && ln -s 1.png set/a/2.png",
			    folder),
		0);
	struct dataset *dataset = open_path(below("set"));
	assert_samples(dataset, (unsigned[]){1, 1, 2, 2}, (uint8_t[]){0, 0, 0, 1}, 4);
	dataset_close(dataset);
	assert_int_equal(run_command("ln -s .. %s/set/a/loop", folder), 0);
	assert_refused(below("set"), "set/a/loop: is a symbolic link to a folder that contains it");
	assert_int_equal(run_command("cd %s/set/a && rm loop && ln -s nowhere 3.png", folder), 0);
	assert_refused(below("set"), "set/a/3.png: No such file");
}

static void image_that_does_not_decode_is_named_with_its_number(void **state)
{
	for (unsigned i = 0; i < 80; i++) { // more than are looked at in the beginning
		char name[40];
		snprintf(name, sizeof(name), "%s/%02u.png", i < 40 ? "a" : "b", i);
		put(name, i);
	}
	assert_int_equal(run_command("truncate -s 60 %s/b/44.png; : >%s/b/49.png; rm %s/b/54.png; mkfifo %s/b/54.png; "
				     "echo no image >%s/a/09.png",
				     folder, folder, folder, folder, folder),
			 0);
	struct dataset *dataset = open_path(folder);
	assert_read_fails(dataset, 44, "dataset: image 44 (from 0): /");
	assert_read_fails(dataset, 44, "/b/44.png: does not decode: it is cut short");
	assert_read_fails(dataset, 49, "b/49.png: is empty");
	assert_read_fails(dataset, 54, "b/54.png: is not a regular file");
	assert_read_fails(dataset, 9, "a/09.png: is neither JPEG nor PNG");
	assert_int_equal(run_command("rm %s/b/59.png", folder), 0);
	assert_read_fails(dataset, 59, "b/59.png: No such file");
	dataset_close(dataset);
	assert_int_equal(run_command("truncate -s 10 %s/a/00.png", folder), 0); // one that is looked at
	assert_refused(folder, "image 0 (from 0): /");
}

static void image_that_may_not_be_read_is_named(void **state)
{
	enum { NOBODY = 65534 };
	put("a/1.png", 1);
	put("b/1.png", 1);
	assert_int_equal(run_command("chmod a+rx %s %s/a %s/b; chmod 0 %s/b/1.png", folder, folder, folder, folder), 0);
	bool is_root = geteuid() == 0; // to whom nothing is forbidden
	if (is_root)
		assert_int_equal(setresuid(NOBODY, NOBODY, 0), 0);
	assert_refused(folder, "b/1.png: Permission denied");
	if (is_root)
		assert_int_equal(setresuid(0, 0, 0), 0);
}

static void names_with_newlines_are_read_and_shown_without(void **state)
{
	put("a/1.png", 1);
	put("b\nc/1\n2.png", 2);
	struct dataset *dataset = open_path(folder);
	assert_samples(dataset, (unsigned[]){1, 2}, (uint8_t[]){0, 1}, 2);
	assert_described(dataset, "folder of classes: 2 images of 3 x 4 x 4, 2 classes (a, b?c); no validation part");
	assert_int_equal(unlink(below("b\nc/1\n2.png")), 0);
	assert_read_fails(dataset, 1, "/b?c/1?2.png: No such file");
	dataset_close(dataset);
}

// ---- WebDataset

static void put_sample(const char *key, const char *extension, unsigned seed, const char *label)
{
	char name[100];
	snprintf(name, sizeof(name), "%s%s", key, extension);
	put(name, seed);
	assert_int_equal(run_command("printf -- '%s' >%s/%s.cls", label, folder, key), 0);
}

static void pack(const char *files)
{
	assert_int_equal(run_command("cd %s && tar cf set.tar %s && gzip -c set.tar >set.tgz", folder, files), 0);
}

static void webdataset_is_read_from_its_archive(void **state)
{
	put_sample("x/1", ".png", 1, "3");
	put_sample("x/2", ".jpg", 2, "0\\n"); // the name does not matter
	put_sample("y.d/1", ".JPEG", 3, "1");
	assert_int_equal(run_command("echo '{}' >%s/x/1.json; echo x >%s/read.me", folder, folder), 0);
	pack("read.me x/1.cls x/1.json x/1.png x/2.jpg x/2.cls y.d");
	static const char *const names[] = {"set.tar", "set.tgz"};
	for (int i = 0; i < 2; i++) {
		struct dataset *dataset = open_path(below(names[i]));
		assert_samples(dataset, (unsigned[]){1, 2, 3}, (uint8_t[]){3, 0, 1}, 3);
		assert_described(dataset, "WebDataset (tar): 3 images of 3 x 4 x 4, 4 classes; no validation part");
		assert_null(dataset_class_name(dataset, 0));
		struct error error = {0};
		assert_true(dataset_check_classes(dataset, 4, &error));
		assert_false(dataset_check_classes(dataset, 3, &error));
		assert_string_equal(error.message, "--classes 3: the dataset has labels up to 3, so the model needs at "
						   "least 4 classes");
		dataset_close(dataset);
	}
}

static void webdataset_that_is_incomplete_is_refused(void **state)
{
	put_sample("1", ".png", 1, "0");
	put_sample("2", ".png", 1, "1");
	pack("1.png 2.png 2.cls");
	assert_refused(below("set.tar"), "sample 1 has an image, but no .cls");
	pack("1.cls 2.png 2.cls");
	assert_refused(below("set.tgz"), "sample 1 has a .cls, but no .jpg, .jpeg or .png");
	pack("1.png 2.png 1.cls 2.cls"); // WebDataset reads files of one key in a row
	assert_refused(below("set.tar"), "sample 1 has an image, but no .cls");
	assert_int_equal(run_command("cp %s/1.png %s/1.jpg", folder, folder), 0);
	pack("1.png 1.jpg 1.cls");
	assert_refused(below("set.tar"), "1.jpg: its sample has another image");
}

static void webdataset_with_a_bad_label_is_refused(void **state)
{
	static const struct {
		const char *label, *expected;
	} cases[] = {
		{"cat", "1.cls: the class's number: "},
		{"-1", "1.cls: the class's number: "},
		{"", "1.cls: the class's number: "},
		{"0000000000000000000000000000000000", "1.cls: is longer than a class's number"},
		{"256", "1.cls: has 257 classes; the maximum is 256"},
		{"0", "has only one class"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		put_sample("1", ".png", 1, cases[i].label);
		pack("1.png 1.cls");
		assert_refused(below("set.tar"), cases[i].expected);
	}
}

static void webdataset_with_a_bad_image_names_it(void **state)
{
	put_sample("1", ".png", 1, "0");
	put_sample("2", ".png", 1, "1");
	assert_int_equal(run_command("truncate -s 60 %s/2.png", folder), 0);
	pack("1.png 1.cls 2.png 2.cls");
	struct dataset *dataset = open_path(below("set.tar"));
	assert_read_fails(dataset, 1, "image 1 (from 0): 2.png: does not decode: it is cut short");
	dataset_close(dataset);
	assert_int_equal(run_command("truncate -s 10 %s/2.png", folder), 0);
	pack("1.png 1.cls 2.png 2.cls");
	assert_refused(below("set.tar"), "image 1 (from 0): 2.png: does not decode: it is cut short");
}

static void webdataset_that_changes_is_refused(void **state)
{
	put_sample("1", ".png", 1, "0");
	put_sample("2", ".png", 1, "1");
	pack("1.png 1.cls 2.png 2.cls");
	struct dataset *dataset = open_path(below("set.tar"));
	assert_int_equal(run_command("touch -d 2001-01-01 %s/set.tar", folder), 0);
	assert_read_fails(dataset, 1, "image 1 (from 0): 2.png: the archive was changed while it was in use");
	assert_int_equal(run_command("truncate -s 600 %s/set.tar", folder), 0);
	assert_read_fails(dataset, 1, "the archive was cut short while it was in use");
	dataset_close(dataset);
}

static void archive_with_a_path_that_leaves_the_folder_is_refused(void **state)
{
	put_sample("1", ".png", 1, "0");
	assert_int_equal(run_command("cd %s && mkdir d && cd d && tar cPf ../set.tar ../1.png ../1.cls", folder), 0);
	assert_refused(below("set.tar"), "member ../1.png leaves the folder of the archive");
}

// ---- CIFAR

static void put_records(const char *name, unsigned label_bytes, const uint8_t *labels, unsigned count)
{
	assert_int_equal(run_command("mkdir -p \"$(dirname '%s')\"", below(name)), 0);
	FILE *file = fopen(below(name), "wb");
	assert_non_null(file);
	for (unsigned i = 0; i < count; i++) {
		if (label_bytes == 2)
			fputc(19, file); // coarse
		fputc(labels[i], file);
		for (unsigned k = 0; k < 3072; k++)
			fputc((int)((k + i) % 251), file);
	}
	assert_int_equal(fclose(file), 0);
}

static void cifar_is_told_by_its_files(void **state)
{
	put_records("ten/data_batch_1.bin", 1, (uint8_t[]){9, 3}, 2);
	put_records("ten/test_batch.bin", 1, (uint8_t[]){1}, 1);
	put_records("above/cifar-100-binary/train.bin", 2, (uint8_t[]){99, 3, 50}, 3);
	struct dataset *dataset = open_path(below("ten"));
	assert_described(dataset, "CIFAR-10 (binary): 2 images of 3 x 32 x 32, 10 classes; validation: test_batch");
	dataset_close(dataset);
	assert_int_equal(run_command("cd %s/above && tar czf ../cifar-100-binary.tar.gz cifar-100-binary", folder), 0);
	static const char *const names[] = {"above", "above/cifar-100-binary", "cifar-100-binary.tar.gz", ""};
	static const char *const words[] = {"binary", "binary", "archive", "cifar-100-binary.tar.gz"};
	for (int i = 0; i < 4; i++) {
		uint8_t image[3072], label;
		char expected[100];
		struct error error = {0};
		dataset = open_path(below(names[i]));
		snprintf(expected, sizeof(expected), "CIFAR-100 (%s): 3 images of 3 x 32 x 32, 100 classes; %s",
			 words[i], i >= 2 ? "validation: test" : "no validation part");
		assert_described(dataset, expected);
		assert_true(dataset_read(dataset, (uint64_t[]){2}, 1, (void *[]){image, &label}, &error));
		assert_int_equal(label, 50);
		assert_int_equal(image[7], 9);
		dataset_close(dataset);
		if (i == 2)
			assert_int_equal(run_command("rm -r %s/ten %s/above", folder, folder), 0);
	}
}

static void cifar_100_with_bad_records_is_refused(void **state)
{
	put_records("train.bin", 2, (uint8_t[]){99, 100}, 2);
	assert_refused(folder,
		       "train.bin: record 1 (from 0) has label 100; labels are 0 to 99: this is not CIFAR-100's");
	put_records("train.bin", 1, (uint8_t[]){9, 9}, 2);
	assert_refused(folder, "train.bin: is cut short: 6146 bytes are 1 whole record of 3074 bytes");
}

// ---- None of them

static void what_is_of_no_format_is_refused_with_what_was_looked_for(void **state)
{
	assert_refused(
		folder,
		"is none of the formats that are read. In the folder it was looked for: CIFAR-10: data_batch_1.bin");
	assert_refused(folder, "CIFAR-100: the same with train.bin");
	assert_refused(folder, "a folder for each class with .jpg, .jpeg or .png files in it");
	assert_int_equal(run_command("cd %s && mkdir a b && echo x >a/text && tar cf t.tar a", folder), 0);
	assert_refused(folder, "is none of the formats");
	assert_refused(below("t.tar"),
		       "In the archive it was looked for: CIFAR-10: data_batch_1.bin or data_batch_1; ");
	assert_refused(below("t.tar"), "; WebDataset: KEY.jpg, KEY.jpeg or KEY.png, and KEY.cls");
	assert_refused(below("a/text"),
		       "is damaged, or not a tar archive: it is cut short. A dataset is a folder, or a tar "
		       "archive, in which it was looked for: CIFAR-10");
	assert_refused(below("nowhere"), "nowhere: No such file or directory");
	assert_refused("/dev/null", "dataset /dev/null: is neither a folder nor an archive");
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)
	const struct CMUnitTest tests[] = {
		CASE(folder_numbers_classes_and_files_as_torchvision_does),
		CASE(folder_of_parts_takes_train),
		CASE(folder_of_other_sizes_is_resized_and_cropped),
		CASE(folder_with_an_empty_class_is_refused),
		CASE(folder_of_one_class_is_refused),
		CASE(folder_of_257_classes_is_refused),
		CASE(folder_with_images_of_another_format_is_refused),
		CASE(folder_with_links),
		CASE(image_that_does_not_decode_is_named_with_its_number),
		CASE(image_that_may_not_be_read_is_named),
		CASE(names_with_newlines_are_read_and_shown_without),
		CASE(webdataset_is_read_from_its_archive),
		CASE(webdataset_that_is_incomplete_is_refused),
		CASE(webdataset_with_a_bad_label_is_refused),
		CASE(webdataset_with_a_bad_image_names_it),
		CASE(webdataset_that_changes_is_refused),
		CASE(archive_with_a_path_that_leaves_the_folder_is_refused),
		CASE(cifar_is_told_by_its_files),
		CASE(cifar_100_with_bad_records_is_refused),
		CASE(what_is_of_no_format_is_refused_with_what_was_looked_for),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
