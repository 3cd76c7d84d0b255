/**
 * Continuous checkpoints: a guest runs at its source, and a destination holds its memory and device
 * state as they were a moment ago, so that the guest can go on there when the source has died.
 *
 * <p>{@link io.pageflux.checkpoint.OutgoingCheckpoints} copies the memory once while the guest
 * runs, and then takes a checkpoint every so often: the guest is paused while its dirty pages are
 * found and copied out, and goes on while they are encoded and sent. {@link
 * io.pageflux.checkpoint.IncomingCheckpoints} collects a checkpoint beside the memory, and puts it
 * there when it is complete and not before.
 *
 * <h2>What "acknowledged" means</h2>
 *
 * <p>The destination has all of the checkpoint, pages and device state; it has checked that nothing
 * is missing or damaged; and nothing that the source or the line does can keep it from putting it
 * into its memory. It is in that process's memory and nowhere else: if the destination dies, too,
 * it is gone.
 *
 * <p>At any moment the destination's memory will be that of exactly one checkpoint when the session
 * has ended: the newest one that was acknowledged, or the one after that if its acknowledgement was
 * lost on its way.
 *
 * <h2>Who runs the guest</h2>
 *
 * <p>The source does, whatever becomes of the session. The destination starts nothing by itself
 * unless {@link io.pageflux.checkpoint.FailOver#START} was asked for. From there a source that has
 * died looks the same as one that was merely cut off. Before a guest is started at the destination
 * somebody has to make sure that the source's cannot go on: that its machine is off, or has no
 * access to network and disks. Nothing here can do that.
 *
 * <p>What the guest sends to the world between two checkpoints is not held back: after a fail-over
 * others may have seen what the guest has no memory of.
 *
 * <p>Source of the idea: Remus (NSDI 2008), and COLO in QEMU, of which this is the part that deals
 * with memory.
 */
@NullMarked
package io.pageflux.checkpoint;

import org.jspecify.annotations.NullMarked;
