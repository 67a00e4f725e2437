// Pickles of CIFAR-10's form, made by hand: as Python 2 wrote the published files, and as Python 3 and numpy write them. Image n of
// first label l has label (l + n) % 10 and pixels (i + 7 * n) % 251.
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/dataset/cifar.h"

struct pickle_text {
	uint8_t bytes[1 << 16];
	size_t size;
};

static inline void pickle_put(struct pickle_text *text, const void *bytes, size_t size)
{
	memcpy(text->bytes + text->size, bytes, size);
	text->size += size;
}
#define PICKLE_PUT(text, literal) pickle_put(text, literal, sizeof(literal) - 1)

static inline void pickle_put_32(struct pickle_text *text, uint32_t number)
{
	for (int i = 0; i < 4; i++)
		text->bytes[text->size++] = (uint8_t)(number >> (8 * i));
}

static inline void pickle_put_labels(struct pickle_text *text, unsigned images, unsigned first_label)
{
	PICKLE_PUT(text, "]q\4(");
	for (unsigned n = 0; n < images; n++) {
		uint8_t number[2] = {'K', (uint8_t)(first_label + n)};
		pickle_put(text, number, 2);
	}
	PICKLE_PUT(text, "e");
}

// "(K\1K<rows>M\0\x0c\x86<element>\x89" of an array's state.
static inline void pickle_put_shape(struct pickle_text *text, unsigned images)
{
	uint8_t rows[2] = {'K', (uint8_t)images};
	PICKLE_PUT(text, "(K\1");
	pickle_put(text, rows, 2);
	PICKLE_PUT(text, "M\0\x0c\x86");
}

static inline uint8_t pickle_pixel(unsigned image, unsigned i)
{
	return (uint8_t)((i + 7 * image) % 251);
}

// The rest of a dictionary whose labels have been put.
static inline void pickle_put_data_of_python2(struct pickle_text *text, unsigned images)
{
	PICKLE_PUT(text,
		   "U\4dataq\6cnumpy.core.multiarray\n_reconstruct\nq\7cnumpy\nndarray\nq\x08K\0\x85U\1b\x87Rq\x09");
	pickle_put_shape(text, images);
	PICKLE_PUT(text,
		   "cnumpy\ndtype\nq\x0aU\2u1K\0K\1\x87Rq\x0b(K\3U\1|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb\x89T");
	pickle_put_32(text, images * CIFAR_IMAGE_BYTES);
	for (unsigned n = 0; n < images; n++)
		for (unsigned i = 0; i < CIFAR_IMAGE_BYTES; i++)
			text->bytes[text->size++] = pickle_pixel(n, i);
	PICKLE_PUT(text, "tbU\x09"
			 "filenamesq\x0c]q\x0d(U\5a.pnge"
			 "u.");
}

static inline void pickle_of_python2(struct pickle_text *text, unsigned images, unsigned first_label)
{
	text->size = 0;
	PICKLE_PUT(text, "\x80\2}q\1(U\x0b"
			 "batch_labelq\2U\x15training batch 1 of 5q\3U\6labels");
	pickle_put_labels(text, images, first_label);
	pickle_put_data_of_python2(text, images);
}

// CIFAR-100's, with coarse labels before the fine ones.
static inline void pickle_of_100_classes(struct pickle_text *text, unsigned images, unsigned first_label)
{
	text->size = 0;
	PICKLE_PUT(text, "\x80\2}q\1(U\x0d"
			 "coarse_labels");
	pickle_put_labels(text, images, 1);
	PICKLE_PUT(text, "U\x0b"
			 "fine_labels");
	pickle_put_labels(text, images, first_label);
	pickle_put_data_of_python2(text, images);
}

static inline void pickle_of_python3(struct pickle_text *text, unsigned images, unsigned first_label)
{
	text->size = 0;
	PICKLE_PUT(text, "\x80\2}q\0(c_codecs\nencode\nq\1X\6\0\0\0labelsq\2X\6\0\0\0latin1q\3\x86q\5Rq\6");
	pickle_put_labels(text, images, first_label);
	PICKLE_PUT(text, "h\1X\4\0\0\0datah\3\x86Rcnumpy._core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85"
			 "h\1X\1\0\0\0bh\3\x86R\x87R");
	pickle_put_shape(text, images);
	PICKLE_PUT(text, "cnumpy\ndtype\nX\2\0\0\0u1\x89\x88\x87R(K\3X\1\0\0\0|"
			 "NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb\x89h\1X");
	size_t length_at = text->size;
	pickle_put_32(text, 0);
	for (unsigned n = 0; n < images; n++)
		for (unsigned i = 0; i < CIFAR_IMAGE_BYTES; i++) {
			uint8_t pixel = pickle_pixel(n, i);
			uint8_t two[2] = {(uint8_t)(0xc0 | pixel >> 6), (uint8_t)(0x80 | (pixel & 0x3f))};
			if (pixel < 0x80)
				pickle_put(text, &pixel, 1);
			else
				pickle_put(text, two, 2);
		}
	size_t end = text->size;
	text->size = length_at;
	pickle_put_32(text, (uint32_t)(end - length_at - 4));
	text->size = end;
	PICKLE_PUT(text, "h\3\x86Rtbu.");
}
