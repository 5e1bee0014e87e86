/** Shared by the commands of the local stack. */

/**
 * Runs a command. An error ends it with one readable line instead of a stack trace, and exit code 1.
 * Set DEBUG to see the whole error.
 */
export async function runCommand(command: () => Promise<void>): Promise<void> {
  try {
    await command();
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    console.error(process.env.DEBUG ? error : `\n${message}`);
    process.exit(1);
  }
}
