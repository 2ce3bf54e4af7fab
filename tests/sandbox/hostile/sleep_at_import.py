# Waits for ever before it defines anything.
import threading

threading.Event().wait()
