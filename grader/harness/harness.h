/*
 * harness.h - everything that a suite is written with.
 *
 *   TEST(eof, yes_head, "head ends the pipeline although yes never does")
 *   {
 *       struct program *p = program_new("pipeline");
 *       program_args(p, "yes", "|", "head", "-1", NULL);
 *       program_start(p);
 *       expect_exit(p, 0);
 *       expect_output(p, "y\n", 2);
 *   }
 *
 * A test is one behaviour. It runs in a process of its own (a Criterion worker), starts programs of
 * the submission as untrusted processes, and stands at the other end of what they do. Everything
 * that the harness hands out lives until the test ends and is freed by nobody. What fails does not
 * return: it records a message in three parts (expected, got, see) and ends the test.
 *
 *   test.h      TEST, verdicts and messages, notes for the transcript, waiting for conditions
 *   program.h   starting a program, its streams, its end
 *   endpoint.h  what the suite holds itself: ends of FIFOs, connections, datagrams
 *   observe.h   what /proc knows of processes: blocked, descriptors, children, cpu, memory
 *   memcheck.h  the same scenario under valgrind
 *   random.h    data from the seed
 */
#ifndef IPCLAB_HARNESS_HARNESS_H
#define IPCLAB_HARNESS_HARNESS_H

#include "harness/endpoint.h"
#include "harness/memcheck.h"
#include "harness/observe.h"
#include "harness/program.h"
#include "harness/random.h"
#include "harness/scene.h"
#include "harness/test.h"

#endif
