/*
 * score.h - the fourth stage, and the only place where points exist: a pure function of manifest
 * and runs.
 *
 * A passed run has all its points, any other none. `not_measured` leaves score and max. A
 * submission that did not build, or was rejected, has score 0 of the full max; a grader_error has
 * no score. Bonus points are counted apart: they are in neither score nor max.
 */
#ifndef IPCLAB_SCORE_SCORE_H
#define IPCLAB_SCORE_SCORE_H

#include "grading.h"

/*
 * Fills g->score, g->max, g->bonus and each run's points. Calling it again changes nothing.
 *
 *   build_failed, rejected   runs that are pending become `failed`: nothing else is known of them;
 *   graded                   a pending run is our fault, never a student's zero: the status becomes
 *                            `grader_error`.
 */
void score(struct grading *g);

#endif
