// The camera: a dialog that gives a file when a picture is taken.

const find = (id) => document.getElementById(id);
const REASONS = {
  NotAllowedError: "The camera may not be used. Allow it for this page in the browser's settings.",
  NotFoundError: "There is no camera.",
  NotReadableError: "The camera is in use by another program.",
};

/** Let the camera's buttons work; `take(file)` gets each picture. */
export function setUpCamera(take) {
  const dialog = find("camera");
  const video = find("video");
  let stream = null;

  find("open-camera").addEventListener("click", async () => {
    find("camera-words").textContent = "Waiting for the camera…";
    find("shoot").disabled = true;
    dialog.showModal();
    try {
      if (!navigator.mediaDevices) throw new Error("Browsers give the camera to pages at https:// or localhost alone.");
      const wanted = { video: { facingMode: "user", width: { ideal: 1280 } }, audio: false };
      const opened = await navigator.mediaDevices.getUserMedia(wanted);
      if (!dialog.open) return stop(opened); // closed meanwhile
      stream = opened;
      video.srcObject = stream;
      await video.play();
      find("camera-words").textContent = "";
      find("shoot").disabled = false;
      find("shoot").focus();
    } catch (error) {
      find("camera-words").textContent = REASONS[error.name] ?? error.message;
    }
  });

  find("shoot").addEventListener("click", () => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
    canvas.getContext("2d").drawImage(video, 0, 0);
    canvas.toBlob((blob) => {
      const time = new Date().toTimeString().slice(0, 8).replaceAll(":", "-");
      dialog.close();
      take(new File([blob], `camera-${time}.png`, { type: "image/png" }));
    }, "image/png");
  });
  find("close-camera").addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => {
    stop(stream);
    stream = null;
    video.srcObject = null;
  });
}

function stop(stream) {
  for (const track of stream?.getTracks() ?? []) track.stop();
}
