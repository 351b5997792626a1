"""MRML's widgets and the parent of a scripted module's panel, as in the headers of 3D Slicer 5.12.3."""

import sys
import weakref

import shiboken6
import slicer
from PySide6 import QtCore, QtWidgets

from .ctk_widgets import ctkCheckableComboBox, row
from .properties import Signal, prop, wrap

Qt = QtCore.Qt
Scene = slicer.vtkMRMLScene
Node = slicer.vtkMRMLNode


class qMRMLWidget(QtWidgets.QWidget):
    _slicer = True
    mrmlSceneChanged = Signal("mrmlSceneChanged(vtkMRMLScene*)")
    _scene = None

    def mrmlScene(self):
        return self._scene

    def setMRMLScene(self, scene: Scene | None) -> None:
        if scene is not self._scene:
            self._scene = scene
            self.mrmlSceneChanged.emit(scene)


class qSlicerWidget(QtWidgets.QWidget):
    _slicer = True
    mrmlSceneChanged = Signal("mrmlSceneChanged(vtkMRMLScene*)")
    _scene = None
    mrmlScene, setMRMLScene = qMRMLWidget.mrmlScene, qMRMLWidget.setMRMLScene


class qSlicerScriptedLoadableModuleWidget(qSlicerWidget):
    """What 3D Slicer gives a scripted module's widget as its parent."""

    _slicer = True
    _widgetClass = _self = None
    _entered = False
    isEntered = QtCore.Property(bool, lambda self: self._entered)
    moduleName = QtCore.Property(str, lambda self: self._widgetClass.__name__.removesuffix("Widget"))

    def self(self):
        return self._self

    def enter(self) -> None:
        self._entered = True
        self._self.enter() if hasattr(self._self, "enter") else None

    def exit(self) -> None:
        self._entered = False
        self._self.exit() if hasattr(self._self, "exit") else None

    def reload(self) -> None:
        self._make(getattr(sys.modules[self._widgetClass.__module__], self._widgetClass.__name__))

    def _make(self, widgetClass):
        self._widgetClass = widgetClass
        self._self = widgetClass(wrap(self))
        self._self.setup()
        setattr(slicer.modules, widgetClass.__name__, self._self)
        if self._entered:
            self.enter()


class qSlicerModuleSelectorToolBar(QtWidgets.QToolBar):
    _slicer = True
    moduleSelected = Signal("moduleSelected(QString)")
    selectedModule = prop(str, "")

    def selectModule(self, name: str) -> None:
        self.selectedModule = name
        self.moduleSelected.emit(name)


class qSlicerMainWindow(QtWidgets.QMainWindow):
    _slicer = True

    def __init__(self):
        super().__init__()
        self.setObjectName("qSlicerMainWindow")
        self._selector = qSlicerModuleSelectorToolBar()

    def moduleSelector(self):
        return self._selector


class qMRMLNodeComboBox(QtWidgets.QWidget):
    _slicer = True
    currentNodeChanged = Signal("currentNodeChanged(vtkMRMLNode*)", "currentNodeChanged(bool)")
    currentNodeIDChanged = Signal("currentNodeIDChanged(QString)")
    currentNodeRenamed = Signal("currentNodeRenamed(QString)")
    nodeActivated = Signal("nodeActivated(vtkMRMLNode*)")
    nodeAdded = Signal("nodeAdded(vtkMRMLNode*)")
    nodeAddedByUser = Signal("nodeAddedByUser(vtkMRMLNode*)")
    nodeAboutToBeRemoved = Signal("nodeAboutToBeRemoved(vtkMRMLNode*)")
    nodeTypes = prop("QStringList", [], "_update")
    showHidden = prop(bool, False, "_update")
    showChildNodeTypes = prop(bool, True, "_update")
    hideChildNodeTypes = prop("QStringList", [], "_update")
    noneEnabled = prop(bool, False, "_update")
    noneDisplay = prop(str, "None", "_update")
    addEnabled = prop(bool, True)
    removeEnabled = prop(bool, True)
    editEnabled = prop(bool, False)
    renameEnabled = prop(bool, False)
    selectNodeUponCreation = prop(bool, True)
    interactionNodeSingletonTag = prop(str, "")
    sizeAdjustPolicy = prop(int, 0)
    _boxClass = QtWidgets.QComboBox

    def __init__(self, parent: QtWidgets.QWidget | None = None):
        super().__init__(parent)
        self._scene, self._current, self._nodes = None, None, []
        self._tags, self._attributes, self._baseNames, self._labels = [], [], {}, {}
        self._requested, self._filling = "", False
        self._box = self._boxClass(self)
        self._box.setSizePolicy(QtWidgets.QSizePolicy.Expanding, QtWidgets.QSizePolicy.Fixed)
        row(self, self._box)
        self._box.currentIndexChanged.connect(self._picked)
        self._box.activated.connect(lambda index: self.nodeActivated.emit(self._current))
        self.setEnabled(False)

    # what is in the list

    def _fits(self, node) -> bool:
        if node.GetHideFromEditors() and not self.showHidden:
            return False
        if any(node.IsA(kind) for kind in self.hideChildNodeTypes) and node.GetClassName() not in self.nodeTypes:
            return False
        ours = [node.IsA(k) if self.showChildNodeTypes else node.GetClassName() == k for k in self.nodeTypes]
        wanted = [(name, value) for kind, name, value in self._attributes if node.IsA(kind)]
        has = [node.GetAttribute(name) in ([value] if value is not None else [node.GetAttribute(name)]) for name, value in wanted]
        given = all(node.GetAttribute(name) is not None for name, _ in wanted)
        return any(ours) and given and all(has)

    def _update(self):
        """Bring the list up to date with the scene; the first node is chosen where there is no None."""
        if self._scene is not None and self._scene.IsBatchProcessing():
            return
        scene = self._scene
        everything = [scene.GetNthNode(i) for i in range(scene.GetNumberOfNodes())] if scene else []
        before, self._nodes = self._nodes, [node for node in everything if self._fits(node)]
        self._filling = True
        self._fill()
        self._filling = False
        for node in [node for node in self._nodes if node not in before]:
            node.AddObserver("ModifiedEvent", _weakly(self, "_renamed"))
        if self._current not in self._nodes:
            self._choose(None if self.noneEnabled or not self._nodes else self._nodes[0])
        else:
            self._show()
        for node in [node for node in self._nodes if node not in before]:
            self.nodeAdded.emit(node)

    def _fill(self):
        self._box.clear()
        self._box.addItems([self.noneDisplay] * self.noneEnabled + [node.GetName() or "" for node in self._nodes])

    def _renamed(self, node):
        if node in self._nodes and self._box.itemText(self._row(node)) != node.GetName():
            self._box.setItemText(self._row(node), node.GetName() or "")
            if node is self._current:
                self.currentNodeRenamed.emit(node.GetName())

    def _row(self, node):
        return self._nodes.index(node) + self.noneEnabled if node in self._nodes else 0 if self.noneEnabled else -1

    def _show(self):
        self._box.blockSignals(True)
        self._box.setCurrentIndex(self._row(self._current))
        self._box.blockSignals(False)

    def _picked(self, index):
        if not self._filling:
            index -= self.noneEnabled
            self._choose(self._nodes[index] if index >= 0 else None)

    def _choose(self, node):
        before, self._current = self._current, node if node in self._nodes else None
        self._show()
        if self._current is not before:
            self.currentNodeChanged.emit(self._current)
            self.currentNodeIDChanged.emit(self._id())

    def _id(self):
        return self._current.GetID() if self._current is not None else ""

    currentNodeID = QtCore.Property(str, _id, lambda self, nodeID: self.setCurrentNodeID(nodeID))

    def _setBaseName(self, name):
        self._baseNames.update(dict.fromkeys(self.nodeTypes, name))

    baseName = QtCore.Property(str, lambda self: self._baseNames.get((self.nodeTypes or [""])[0], ""), _setBaseName)

    # slots and invokable methods

    def mrmlScene(self):
        return self._scene

    def setMRMLScene(self, scene: Scene | None) -> None:
        if scene is self._scene:
            return
        for tag in self._tags:
            self._scene.RemoveObserver(tag)
        self._scene, update = scene, _weakly(self, "_sceneChanged")
        events = (Scene.NodeAddedEvent, Scene.NodeRemovedEvent, Scene.EndBatchProcessEvent)
        self._tags = [scene.AddObserver(event, update) for event in events] if scene else []
        self.setEnabled(scene is not None)
        self._update()
        if self._requested:
            self.setCurrentNodeID(self._requested)

    def _sceneChanged(self, scene):
        self._update()

    def currentNode(self):
        return self._current

    def setCurrentNode(self, node: Node | None) -> None:
        self.setCurrentNodeID(node.GetID() or "" if node is not None else "")

    def setCurrentNodeID(self, nodeID: str) -> None:
        self._requested = nodeID if self._scene is None else ""
        self._choose(next((node for node in self._nodes if nodeID and node.GetID() == nodeID), None))

    def setCurrentNodeIndex(self, index: int) -> None:
        self._choose(self._nodes[index] if 0 <= index < len(self._nodes) else None)

    def nodeCount(self) -> int:
        return len(self._nodes)

    def nodeFromIndex(self, index: int):
        return self._nodes[index] if 0 <= index < len(self._nodes) else None

    def addAttribute(self, nodeType: str, name: str, value: object = None) -> None:
        self._attributes.append((nodeType, name, value))
        self._update()

    def removeAttribute(self, nodeType: str, name: str) -> None:
        self._attributes = [a for a in self._attributes if a[:2] != (nodeType, name)]
        self._update()

    def setNodeTypeLabel(self, label: str, nodeType: str) -> None:
        self._labels[nodeType] = label

    def nodeTypeLabel(self, nodeType: str) -> str:
        return self._labels.get(nodeType) or self._scene.GetTypeDisplayNameByClassName(nodeType)

    def addNode(self, nodeType: str = "") -> Node | None:
        kind = nodeType or next(iter(self.nodeTypes), "")
        if self._scene is None or kind not in self.nodeTypes:
            return None
        name = self._baseNames.get(kind) or self._scene.GetTypeDisplayNameByClassName(kind)
        node = self._scene.AddNewNodeByClass(kind, self._scene.GenerateUniqueName(name))
        if self.selectNodeUponCreation:
            self.setCurrentNode(node)
        self.nodeAddedByUser.emit(node)
        return node

    def removeCurrentNode(self) -> None:
        self._scene.RemoveNode(self._current)


class qMRMLCheckableNodeComboBox(qMRMLNodeComboBox):
    _slicer = True
    checkedNodesChanged = Signal("checkedNodesChanged()")
    _boxClass = ctkCheckableComboBox

    def __init__(self, parent: QtWidgets.QWidget | None = None):
        self._checked = []
        super().__init__(parent)
        self.addEnabled = self.removeEnabled = False
        self._box.checkedIndexesChanged.connect(self._ticked)

    def _fill(self):
        super()._fill()
        for node in self._checked:
            self.setCheckState(node, 2)
        if any(node not in self._nodes for node in self._checked):
            self._filling = False
            self._ticked()

    def _ticked(self):
        if not self._filling:
            rows = {index.row() for index in self._box.checkedIndexes()}
            self._checked = [node for node in self._nodes if self._row(node) in rows]
            self.checkedNodesChanged.emit()

    def checkedNodes(self):
        return list(self._checked)

    def uncheckedNodes(self):
        checked = self.checkedNodes()
        return [node for node in self._nodes if node not in checked]

    def allChecked(self) -> bool:
        return bool(self._nodes) and not self.uncheckedNodes()

    def noneChecked(self) -> bool:
        return not self.checkedNodes()

    def checkState(self, node: Node):
        return Qt.Checked if node in self.checkedNodes() else Qt.Unchecked

    def setCheckState(self, node: Node, state: int) -> None:
        if node in self._nodes:
            self._box.model().item(self._row(node)).setCheckState(Qt.CheckState(state))

    def setUserCheckable(self, node: Node, checkable: bool) -> None:
        self._box.model().item(self._row(node)).setCheckable(checkable)

    def check(self, node: Node) -> None:
        self.setCheckState(node, 2)

    def uncheck(self, node: Node) -> None:
        self.setCheckState(node, 0)


def _weakly(widget, method: str):
    """An observer that does not keep its widget alive."""
    reference = weakref.ref(widget)

    def call(caller, event):
        if reference() is not None and shiboken6.isValid(reference()):
            getattr(reference(), method)(caller)

    return call


WIDGETS = {name: item for name, item in list(globals().items()) if name.startswith(("qMRML", "qSlicer"))}
