/* Submit gangs to the Slurm of SLURM_CONF, each on so many exclusive whole nodes, one per line of standard
 * input: its nodes and, for batch jobs, its script. One process for all of them, because starting salloc or
 * sbatch once a job costs more than the decision. A job that cannot start yet stays pending: this program
 * waits for nothing. Arguments, in any order:
 *   held       submit all held: Slurm then tries none at submission, which would cost it a decision each
 *   gres       ask for the 8 chips of each node by name too
 *   batch      batch jobs that run the line's script, not allocations without launch
 *   minutes=N  time limit
 * Prints how many jobs were taken, or the number of each batch job; exits 1 at the first refusal. */
#include <errno.h>
#include <slurm/slurm.h>
#include <slurm/slurm_errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int held, gres, batch, minutes = 600;  /* nothing ends while a fill is measured */
static char host[256];

static void refuse(uint32_t nodes, const char *why)
{
    fprintf(stderr, "submit: %u nodes: %s\n", nodes, why);
    exit(1);
}

static void allocate(job_desc_msg_t *job)
{
    resource_allocation_response_msg_t *answer = NULL;

    if (slurm_allocate_resources(job, &answer))
        refuse(job->min_nodes, slurm_strerror(errno));
    slurm_free_resource_allocation_response_msg(answer);
}

static void run(job_desc_msg_t *job, const char *path)
{
    static char script[1 << 16];
    submit_response_msg_t *answer = NULL;
    FILE *file = fopen(path, "r");

    if (!file)
        refuse(job->min_nodes, path);
    script[fread(script, 1, sizeof script - 1, file)] = '\0';
    fclose(file);
    job->script = script;
    job->std_out = job->std_err = "/dev/null";
    if (slurm_submit_batch_job(job, &answer))
        refuse(job->min_nodes, slurm_strerror(errno));
    printf("%u\n", answer->job_id);
    slurm_free_submit_response_response_msg(answer);
}

static void submit(uint32_t nodes, const char *path)
{
    static char *environment[] = {"PATH=/usr/bin:/bin", NULL};
    job_desc_msg_t job;

    slurm_init_job_desc_msg(&job);
    job.name = "gang";
    job.user_id = getuid();
    job.group_id = getgid();
    job.work_dir = "/";
    job.alloc_node = host;
    job.alloc_sid = getpid();
    job.environment = environment;
    job.env_size = 1;
    job.min_nodes = job.max_nodes = job.num_tasks = nodes;
    job.ntasks_per_node = 1;
    job.shared = 0;     /* nobody else on its nodes */
    job.time_limit = minutes;
    job.immediate = 0;  /* pending is an answer too */
    job.requeue = 0;
    if (gres)
        job.tres_per_node = "gres:gpu:8";
    if (held)
        job.priority = 0;
    if (batch)
        run(&job, path);
    else
        allocate(&job);
}

int main(int count, char **arguments)
{
    char line[4096], path[4096];
    unsigned nodes, taken = 0;

    for (int k = 1; k < count; k++) {
        held |= !strcmp(arguments[k], "held");
        gres |= !strcmp(arguments[k], "gres");
        batch |= !strcmp(arguments[k], "batch");
        sscanf(arguments[k], "minutes=%d", &minutes);
    }
    slurm_init(NULL);
    gethostname(host, sizeof host - 1);
    while (fgets(line, sizeof line, stdin)) {
        path[0] = '\0';
        if (sscanf(line, "%u %4095s", &nodes, path) < 1)
            continue;
        submit(nodes, path);
        taken++;
    }
    if (!batch)
        printf("%u\n", taken);
    return 0;
}
